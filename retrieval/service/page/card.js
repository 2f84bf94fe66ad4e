// A movie in a list: rank, title, genres, predicted rating, why it is there, and rating it.

import { h, setVars } from "./dom.js";
import { prediction, ratingControl } from "./scale.js";
import * as words from "./words.js";

/** Return the hue of a genre: neighbours in the list of genres are far apart. */
export const hueOf = (genre, genres) => `${Math.round((genres.indexOf(genre) * 137.5 + 25) % 360)}`;

/** Return a movie's genres as chips of their colours. */
export function genreChips(movie, genres) {
  return h(
    "ul",
    { class: "chips", "aria-label": "Genres" },
    movie.genres.map((genre) =>
      h("li", { class: "chip", vars: { "--hue": hueOf(genre, genres) } }, genre),
    ),
  );
}

/** Say in words which events brought a movie into the list. */
function becauseOf(reasons, linkOf) {
  if (!reasons.length) return [];
  const raising = reasons.filter((reason) => reason.effect >= 0);
  const parts = raising.length ? raising : reasons;
  const named = parts.map((reason) => [
    h("a", { href: linkOf(reason.movie_id) }, reason.title),
    reason.rating === null ? "" : `\u00a0${words.level(reason.rating)}`,
  ]);
  const verb = parts.every((reason) => reason.rating === null) ? "watched" : "rated";
  return [
    `${raising.length ? "Because" : "Although"} you ${verb} `,
    ...named.flatMap((each, place) => [...each, separator(place, named.length)]),
  ];
}

function separator(place, length) {
  if (place === length - 1) return ".";
  if (place < length - 2) return ", ";
  return length > 2 ? ", and " : " and ";
}

/**
 * Make the card of a movie in a ranked list; `update` and `explain` draw into the same element.
 * @param {object} options
 * @param {object} options.service what `/v1/service` says
 * @param {(id) => string} options.linkOf the route of a movie
 * @param {(movie, event) => void} options.onEvent
 */
export function movieCard({ service, linkOf, onEvent }) {
  const rank = h("span", { class: "rank", "aria-hidden": "true" });
  const title = h("h2", { class: "title" });
  const middle = h("div", { class: "card-facts" });
  const right = h("div", { class: "card-prediction" });
  const why = h("p", { class: "because awaited" });
  const actions = h("div", { class: "card-actions" });
  const element = h("li", { class: "card", tabindex: "-1" }, rank, middle, right, why, actions);
  return {
    element,
    update(movie) {
      rank.textContent = movie.rank;
      title.replaceChildren(
        h("span", { class: "unseen" }, `${movie.rank}. `),
        h("a", { href: linkOf(movie.movie_id) }, movie.title),
        movie.year === null ? "" : h("span", { class: "year" }, ` ${movie.year}`),
      );
      setVars(element, { "--hue": hueOf(movie.genres[0], service.genres) });
      middle.replaceChildren(title, genreChips(movie, service.genres));
      right.replaceChildren(
        ...[prediction(service.scale, movie.rating, movie.deviation)].filter(Boolean),
      );
      if (actions.hasChildNodes()) return;
      actions.append(
        ratingControl({
          scale: service.scale,
          title: movie.title,
          onEvent: (event) => onEvent(movie, event),
        }),
      );
    },
    explain(reasons) {
      why.classList.remove("awaited");
      why.hidden = !reasons.length;
      why.replaceChildren(...becauseOf(reasons, linkOf));
    },
    busy(is) {
      element.classList.toggle("busy", is);
      element.toggleAttribute("aria-busy", is);
      for (const button of actions.querySelectorAll("button")) button.disabled = is;
    },
  };
}

/** Make a small card of a movie outside a ranked list, with something beneath its genres. */
export function smallCard(movie, { service, href, heading = "h3", children = [], action = null }) {
  return h(
    "li",
    { class: "card small-card", vars: { "--hue": hueOf(movie.genres[0], service.genres) } },
    h(
      "div",
      { class: "card-facts" },
      h(
        heading,
        { class: "title" },
        href ? h("a", { href }, movie.title) : movie.title,
        movie.year === null ? "" : h("span", { class: "year" }, ` ${movie.year}`),
      ),
      genreChips(movie, service.genres),
      children,
    ),
    action,
  );
}
