// Dialogs: the browser keeps the focus inside, gives it back and closes on Escape.

import { h } from "./dom.js";

let number = 0;

/**
 * Ask something and wait.
 * @param {object} options
 * @param {string} options.title
 * @param {Node[]} options.body
 * @param {string} options.confirm the word on the button that goes on
 * @param {boolean} options.danger whether going on cannot be undone
 * @returns {Promise<FormData|null>} what was filled in, or null
 */
export function ask({ title, body, confirm, danger = false }) {
  const id = `dialog-${++number}`;
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id }, title),
    body,
    h(
      "div",
      { class: "dialog-actions" },
      h("button", { type: "button", class: "quiet", on: { click: () => dialog.close() } }, "Cancel"),
      h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, confirm),
    ),
  );
  const dialog = h("dialog", { "aria-labelledby": id }, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
    });
  });
}
