// What went wrong, said as a sentence with its remedy.

import { h } from "./dom.js";

const REMEDIES = {
  401: "Enter the API key that the service was started with.",
  403: "The service does not allow this here.",
  413: "Send less at once.",
  429: "Wait a moment, then try again.",
  503: "Try again in a moment.",
};

/** Return a sentence about an error, for a line of status. */
export function sentenceOf(error) {
  const detail = capital(error.message);
  const end = /[.!?]$/.test(detail) ? "" : ".";
  return [`${detail}${end}`, REMEDIES[error.status]].filter(Boolean).join(" ");
}

/** Return a panel about an error, with a button that tries again. */
export function problemPanel(error, again) {
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", {}, sentenceOf(error)),
    error.requestId ? h("p", { class: "muted small-text" }, `Request ${error.requestId}`) : null,
    again ? h("button", { type: "button", class: "quiet", on: { click: again } }, "Try again") : null,
  );
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
