// One movie: its facts, what others gave it, what the user will give it and why, its neighbours.

import { api, part } from "./api.js";
import { genreChips, hueOf, smallCard } from "./card.js";
import { h, setVars } from "./dom.js";
import { problemPanel } from "./problem.js";
import { listRoute, movieRoute, viewerOf } from "./routes.js";
import { band, prediction, ratingControl } from "./scale.js";
import { NOT_SAVED, sendAs } from "./viewer.js";
import * as words from "./words.js";

const NEIGHBOURS = 12;
const INFLUENCES = 8;

// Attributes that stand elsewhere on the page.
const OWN_PLACE = ["year", "genres"];

export function movieView(main, route, context) {
  const { service } = context;
  const id = route.rest[0] ?? "";
  let viewer = viewerOf(route);
  let left = false;
  const heading = h("h1", {}, "…");
  const facts = h("div", { class: "movie-facts" });
  const own = h("section", { class: "panel movie-own", "aria-labelledby": "own-title" });
  const near = h("section", { class: "movie-near", "aria-labelledby": "near-title" });
  const page = h("div", { class: "page movie-page" }, h("header", { class: "movie-head" }, heading, facts), own, near);
  main.append(page);

  async function load() {
    try {
      const movie = await api.get(`v1/movies/${part(id)}`);
      if (left) return;
      drawFacts(movie);
      await Promise.all([loadOwn(movie), loadNear()]);
    } catch (error) {
      if (left) return;
      heading.textContent = error.code === "unknown_movie" ? "No such movie" : "This movie cannot be shown";
      facts.replaceChildren(problemPanel(error, error.status === 404 ? null : load));
    }
  }

  function drawFacts(movie) {
    context.name(words.titled(movie));
    setVars(page, { "--hue": hueOf(movie.genres[0], service.genres) });
    heading.replaceChildren(movie.title, movie.year === null ? "" : h("span", { class: "year" }, ` ${movie.year}`));
    const attributes = Object.entries(movie.attributes).filter(
      ([name, value]) => !OWN_PLACE.includes(name) && value !== null && value !== "",
    );
    facts.replaceChildren(
      ...[
        genreChips(movie, service.genres),
        movie.hidden ? h("p", { class: "badge warn" }, "Hidden: no list holds it") : null,
        h(
          "dl",
          { class: "facts" },
          fact("Movie id", String(movie.movie_id)),
          fact(service.scale.ratings ? "Ratings" : "Plays", words.count(movie.ratings)),
          service.scale.ratings && movie.mean_rating !== null
            ? fact("Mean rating", h("span", { class: "mean" }, words.decimal(movie.mean_rating, 2), band(service.scale, movie.mean_rating, null)))
            : null,
          attributes.map(([name, value]) => fact(nameOf(name), textOf(value))),
        ),
      ].filter(Boolean),
    );
  }

  async function loadOwn(movie) {
    const title = h("h2", { id: "own-title" });
    const controlOf = (chosen) =>
      ratingControl({ scale: service.scale, title: movie.title, chosen, onEvent: (event) => tell(movie, event) });
    if (!viewer.user) {
      title.textContent = "Will you like it?";
      own.replaceChildren(
        title,
        h(
          "p",
          {},
          viewer.liked.length
            ? "Rate this movie and you are a user of your own, with predictions for every movie."
            : "Say who you are, and this page predicts your rating.",
        ),
        viewer.liked.length ? controlOf(null) : h("a", { class: "button primary", href: "#/" }, "Find my list"),
      );
      return;
    }
    title.textContent = `For user ${viewer.user}`;
    try {
      const answer = await api.get(`v1/users/${part(viewer.user)}/movies/${part(id)}`, { explain: true });
      const rated = answer.explanation.influences.find((each) => each.movie_id === movie.movie_id)?.rating ?? null;
      own.replaceChildren(
        ...[
          h(
            "div",
            { class: "own-head" },
            h("div", {}, title, h("p", { class: "muted" }, aboutOf(answer.rating, rated))),
            prediction(service.scale, answer.rating, answer.deviation),
          ),
          h("div", { class: "own-rate" }, h("span", { class: "muted" }, "Your rating"), controlOf(rated), h("a", { href: listRoute(viewer) }, "Back to the list")),
          explanationOf(answer.explanation),
        ].filter(Boolean),
      );
    } catch (error) {
      own.replaceChildren(title, problemPanel(error, () => loadOwn(movie)));
    }
  }

  function explanationOf(explanation) {
    const { answer, baseline, unknown_user: unknown, influences } = explanation;
    if (!influences.length) {
      return h("p", {}, "Nothing is known of this user yet: this is what somebody new would give.");
    }
    const largest = Math.max(...influences.map((each) => Math.abs(each.effect)), 1e-9);
    const top = influences.slice(0, INFLUENCES);
    const rest = influences.slice(INFLUENCES);
    const digits = largest < 0.1 ? 3 : 2;
    const left = rest.reduce((sum, each) => sum + each.effect, 0);
    return h(
      "div",
      { class: "explanation" },
      h("h3", {}, "Why"),
      h(
        "p",
        {},
        `Somebody unknown would get ${words.decimal(unknown, 2)}. `,
        Math.abs(baseline - unknown) < 0.005 ? "" : `What else is known of this user makes it ${words.decimal(baseline, 2)}. `,
        `${words.plural(influences.length, "event")} ${answer >= baseline ? "raise" : "lower"}${influences.length === 1 ? "s" : ""} it to `,
        h("strong", {}, words.decimal(answer, 2)),
        ".",
      ),
      h(
        "table",
        { class: "effects" },
        h("caption", { class: "unseen" }, "Events that move the prediction most"),
        h("thead", {}, h("tr", {}, ["Event", "Rated", "Effect"].map((name) => h("th", { scope: "col", class: name === "Rated" ? "number" : null }, name)))),
        h("tbody", {}, top.map((each) => effectRow(each, largest, digits))),
      ),
      rest.length
        ? h("p", { class: "muted" }, `${words.plural(rest.length, "further event")} together: ${words.decimal(left, digits, true)}.`)
        : null,
    );
  }

  function effectRow(each, largest, digits) {
    const share = ((0.5 * Math.abs(each.effect)) / largest).toFixed(3);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("a", { href: movieRoute(each.movie_id, viewer) }, each.title)),
      h("td", { class: "number" }, each.rating === null ? "watched" : words.level(each.rating)),
      h(
        "td",
        { class: "effect" },
        h("span", { class: `bar ${each.effect < 0 ? "bar-minus" : "bar-plus"}`, "aria-hidden": "true", vars: { "--share": share } }),
        h("span", { class: "number" }, words.decimal(each.effect, digits, true)),
      ),
    );
  }

  async function loadNear() {
    try {
      const { movies } = await api.get(`v1/movies/${part(id)}/similar`, { k: Math.min(NEIGHBOURS, service.movies - 1) });
      near.replaceChildren(
        h("h2", { id: "near-title" }, "Who likes it also likes"),
        h("ul", { class: "grid", "aria-label": "Similar movies" }, movies.map((movie) => neighbour(movie))),
      );
    } catch (error) {
      near.replaceChildren(h("h2", { id: "near-title" }, "Who likes it also likes"), problemPanel(error, loadNear));
    }
  }

  const neighbour = (movie) =>
    smallCard(movie, {
      service,
      href: movieRoute(movie.movie_id, viewer),
      children: [
        h(
          "p",
          { class: "near" },
          h("span", { class: "near-bar", "aria-hidden": "true", vars: { "--width": `${Math.max(0, movie.cosine) * 100}%` } }),
          h("span", { class: "muted small-text" }, `${words.share(Math.max(0, movie.cosine))} alike`),
        ),
      ],
    });

  async function tell(movie, event) {
    const row = { movie_id: movie.movie_id, timestamp: Math.floor(Date.now() / 1000), ...event };
    for (const button of own.querySelectorAll("button")) button.disabled = true;
    try {
      const somebody = viewer;
      const user = await sendAs(somebody, service, row);
      if (!somebody.user) {
        viewer = { user, liked: [] };
        context.become(somebody, user);
      }
      context.say(
        event.kind === "rating"
          ? `You rated ${movie.title} ${words.level(event.rating)}.`
          : `${movie.title} is in your history.`,
      );
      if (!left) await load();
    } catch (error) {
      for (const button of own.querySelectorAll("button")) button.disabled = false;
      context.fail(error, NOT_SAVED);
    }
  }

  load();
  return {
    update(next) {
      const same = next.rest[0] === id && viewerOf(next).user === viewer.user;
      return same;
    },
    leave() {
      left = true;
    },
  };
}

function aboutOf(predicted, rated) {
  if (predicted === null) return "No part of this run predicts ratings.";
  if (rated === null) return "The rating this user will give:";
  return `This user gave it ${words.level(rated)}; seen again it would get:`;
}

const fact = (name, value) => h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, value));

const nameOf = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

function textOf(value) {
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}
