// The scale of ratings: its values, a prediction drawn on it, and the control that rates.

import { h, icon } from "./dom.js";
import * as words from "./words.js";

// A longer scale is shown as numbers instead of stars.
const MOST_STARS = 7;

/** Return all ratings that are possible, lowest first. */
export function valuesOf(scale) {
  if (Array.isArray(scale.levels)) return scale.levels;
  const step = (scale.highest - scale.lowest) / (scale.levels - 1);
  return Array.from({ length: scale.levels }, (_, place) => scale.lowest + place * step);
}

const placeOn = (scale, value) => {
  const share = (value - scale.lowest) / (scale.highest - scale.lowest);
  return `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(2)}%`;
};

/**
 * Draw a rating as a point on the scale, with its standard deviation as a band around it. The
 * drawing says nothing to a screen reader: the numbers stand beside it.
 */
export function band(scale, rating, deviation) {
  const around = deviation ?? 0;
  return h(
    "div",
    {
      class: "band",
      "aria-hidden": "true",
      vars: {
        "--from": placeOn(scale, rating - around),
        "--to": placeOn(scale, rating + around),
        "--at": placeOn(scale, rating),
      },
    },
    h("div", { class: "band-track" }),
    deviation === null || deviation === undefined ? null : h("div", { class: "band-width" }),
    h("div", { class: "band-point" }),
  );
}

/** Show a predicted rating: the number, its ±, and both on the scale. */
export function prediction(scale, rating, deviation) {
  if (rating === null || rating === undefined) return null;
  const about = deviation === null || deviation === undefined ? "" : `± ${words.rating(deviation)}`;
  return h(
    "div",
    { class: "prediction" },
    h(
      "p",
      { class: "prediction-numbers", title: `Predicted on a scale from ${scale.lowest} to ${scale.highest}` },
      h("span", { class: "unseen" }, "Predicted rating "),
      h("strong", {}, words.rating(rating)),
      about ? h("span", { class: "muted" }, ` ${about}`) : null,
    ),
    band(scale, rating, deviation),
    h(
      "div",
      { class: "band-ends", "aria-hidden": "true" },
      h("span", {}, words.level(scale.lowest)),
      h("span", {}, words.level(scale.highest)),
    ),
  );
}

/** Show a rating that was given, in words and stars. */
export function given(event) {
  if (event.kind === "play") return h("span", { class: "given" }, icon("check"), "watched");
  if (event.kind === "like") return h("span", { class: "given" }, icon("heart"), "liked");
  return h(
    "span",
    { class: "given" },
    icon("star"),
    h("span", { class: "unseen" }, "rated "),
    words.level(event.rating),
  );
}

/**
 * Make the control that rates a movie: one stop of the Tab key, arrows inside it.
 * @param {object} options
 * @param {object} options.scale
 * @param {string} options.title what is rated
 * @param {number|null} options.chosen the rating that was given before
 * @param {(event: {kind: string, rating: number|null}) => void} options.onEvent
 */
export function ratingControl({ scale, title, chosen = null, onEvent }) {
  const watched = h(
    "button",
    { type: "button", class: "quiet small", on: { click: () => onEvent({ kind: "play", rating: null }) } },
    icon("check"),
    "Watched",
    h("span", { class: "unseen" }, ` ${title}`),
  );
  if (!scale.ratings) {
    const like = h(
      "button",
      { type: "button", class: "quiet small", on: { click: () => onEvent({ kind: "like", rating: null }) } },
      icon("heart"),
      "Like",
      h("span", { class: "unseen" }, ` ${title}`),
    );
    return h("div", { class: "rate" }, like, watched);
  }
  return h("div", { class: "rate" }, stars({ scale, title, chosen, onEvent }), watched);
}

function stars({ scale, title, chosen, onEvent }) {
  const values = valuesOf(scale);
  const halves = values.length > MOST_STARS && values[1] - values[0] === 0.5;
  const buttons = values.map((value, place) =>
    h(
      "button",
      {
        type: "button",
        class: halves ? `star half half-${Number.isInteger(value) ? "right" : "left"}` : "star",
        tabindex: place === values.length - 1 ? "0" : "-1",
        "data-on": chosen !== null && value <= chosen,
        "aria-label": `Rate ${title} ${words.level(value)} of ${words.level(scale.highest)}`,
        title: words.level(value),
        on: { click: () => onEvent({ kind: "rating", rating: value }) },
      },
      starOf(value, values.length > MOST_STARS, halves),
    ),
  );
  const group = h("div", { class: "stars", role: "group", "aria-label": `Rate ${title}` }, buttons);
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    const place = buttons.indexOf(document.activeElement);
    if (!step || place < 0) return;
    event.preventDefault();
    const next = Math.min(Math.max(place + step, 0), buttons.length - 1);
    for (const [other, button] of buttons.entries()) button.tabIndex = other === next ? 0 : -1;
    buttons[next].focus();
  });
  return group;
}

function starOf(value, many, halves) {
  if (halves) return icon("star", Number.isInteger(value) ? "12 0 12 24" : "0 0 12 24");
  return many ? words.level(value) : icon("star");
}
