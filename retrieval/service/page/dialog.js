// Dialogs: the browser keeps the focus inside, gives it back and closes on Escape.

import { h } from "./dom.js";
import { sentenceOf } from "./problem.js";

let number = 0;

/**
 * Ask something and wait.
 * @param {object} options
 * @param {string} options.title
 * @param {Node[]} options.body
 * @param {string} options.confirm the word on the button that goes on
 * @param {boolean} options.danger whether going on cannot be undone
 * @param {(filled: FormData) => Promise<void>} options.send does it, while the dialog waits; what it
 *   throws is said in the dialog, which stays open with all that was filled in
 * @returns {Promise<FormData|null>} what was filled in, or null
 */
export function ask({ title, body, confirm, danger = false, send = null }) {
  const id = `dialog-${++number}`;
  const trouble = h("p", { class: "bad-text", role: "alert" });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id }, title),
    body,
    trouble,
    h(
      "div",
      { class: "dialog-actions" },
      h("button", { type: "button", class: "quiet", on: { click: () => dialog.close() } }, "Cancel"),
      h("button", { type: "submit", value: "yes", class: danger ? "danger" : "primary" }, confirm),
    ),
  );
  const dialog = h("dialog", { "aria-labelledby": id }, form);
  form.addEventListener("submit", async (event) => {
    if (!send) return;
    event.preventDefault();
    const button = event.submitter;
    button.disabled = true;
    trouble.textContent = "";
    try {
      await send(new FormData(form));
      dialog.close("yes");
    } catch (error) {
      trouble.textContent = sentenceOf(error);
      button.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? new FormData(form) : null);
    });
  });
}
