// Movies by title, with what was probably meant.

import { api } from "./api.js";
import { smallCard } from "./card.js";
import { h } from "./dom.js";
import { problemPanel } from "./problem.js";
import { movieRoute, viewerOf } from "./routes.js";
import * as words from "./words.js";

const SHOWN = 24;

/** Return whether a title holds all words of a text, whatever their case and accents. */
export function holds(title, text) {
  const plain = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const whole = plain(title);
  return plain(text).split(/[^\p{L}\p{N}]+/u).every((word) => whole.includes(word));
}

export function searchView(main, route, context) {
  const { service } = context;
  let asking = new AbortController();
  const heading = h("h1");
  const note = h("p", { class: "status", role: "status" });
  const found = h("ul", { class: "grid", "aria-label": "Movies found" });
  main.append(h("div", { class: "page" }, heading, note, found));

  async function look(here) {
    const text = here.query.get("q") ?? "";
    const viewer = viewerOf(here);
    asking.abort();
    asking = new AbortController();
    heading.textContent = text ? `Movies like “${text}”` : "Search movies";
    context.name(heading.textContent);
    if (!text) {
      note.textContent = "Type a title, or a part of it, above.";
      found.replaceChildren();
      return;
    }
    try {
      const { movies } = await api.get("v1/movies", { q: text, limit: SHOWN }, asking.signal);
      note.replaceChildren(...noteOn(text, movies, viewer));
      found.replaceChildren(
        ...movies.map((movie) => smallCard(movie, { service, heading: "h2", href: movieRoute(movie.movie_id, viewer) })),
      );
    } catch (error) {
      if (error.name === "AbortError") return;
      note.replaceChildren();
      found.replaceChildren(h("li", { class: "whole-row" }, problemPanel(error, () => look(here))));
    }
  }

  look(route);
  return {
    update(next) {
      look(next);
      return true;
    },
    leave: () => asking.abort(),
  };
}

function noteOn(text, movies, viewer) {
  if (!movies.length) return [`No title is like “${text}”. Check the spelling, or try fewer words.`];
  const exact = movies.filter((movie) => holds(movie.title, text)).length;
  if (exact) return [`${words.plural(exact, "title")} with “${text}”${exact < movies.length ? ", then what is like it" : ""}.`];
  return [
    `No title has “${text}”. Did you mean `,
    h("a", { href: movieRoute(movies[0].movie_id, viewer) }, words.titled(movies[0])),
    "?",
  ];
}
