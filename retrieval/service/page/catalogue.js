// What can be listed: finding, adding, hiding, showing and removing movies, and the map of them.

import { api, part } from "./api.js";
import { genreChips, hueOf } from "./card.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { movieMap } from "./map.js";
import { problemPanel } from "./problem.js";
import { movieRoute, viewerOf } from "./routes.js";
import * as words from "./words.js";

const SHOWN = 12;
const TYPING_PAUSE = 200;
const HINT = "Find a movie to hide, show or remove it.";

export function catalogueView(main, route, context) {
  const { service } = context;
  context.name("Catalogue");
  const viewer = viewerOf(route);
  let asking = new AbortController();
  let typing = 0;
  const map = movieMap({ service, linkOf: (movie) => movieRoute(movie.movie_id, viewer) });
  const search = h("input", { id: "catalogue-search", type: "search", autocomplete: "off", spellcheck: "false", maxlength: "200", placeholder: "A title, or a part of it" });
  const note = h("p", { class: "muted", role: "status" }, HINT);
  const rows = h("ul", { class: "catalogue-rows", "aria-label": "Movies found" });
  const trouble = h("div");
  main.append(
    h(
      "div",
      { class: "page" },
      h(
        "header",
        { class: "page-head" },
        h("div", {}, h("h1", {}, "Catalogue"), h("p", { class: "muted" }, "What is added, hidden or removed here counts at once, and is kept over a retraining.")),
        h("button", { type: "button", class: "primary", on: { click: () => add() } }, "Add a movie …"),
      ),
      h(
        "section",
        { class: "panel", "aria-labelledby": "map-title" },
        h("h2", { id: "map-title" }, "Map of taste"),
        h("p", { class: "muted" }, "The two directions in which tastes differ most. Near each other lies what the same people like; the size is the number of ratings."),
        trouble,
        map.element,
      ),
      h(
        "section",
        { class: "panel", "aria-labelledby": "find-title" },
        h("h2", { id: "find-title" }, "Movies"),
        h("label", { for: "catalogue-search", class: "unseen" }, "Find movies of the catalogue"),
        search,
        note,
        rows,
      ),
    ),
  );

  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, TYPING_PAUSE);
  });

  async function look() {
    const text = search.value.trim();
    asking.abort();
    asking = new AbortController();
    if (!text) {
      note.textContent = HINT;
      rows.replaceChildren();
      return;
    }
    try {
      const { movies } = await api.get("v1/movies", { q: text, limit: SHOWN }, asking.signal);
      const facts = await Promise.all(movies.map((movie) => api.get(`v1/movies/${part(movie.movie_id)}`, {}, asking.signal)));
      note.textContent = movies.length ? "" : `No title is like “${text}”.`;
      rows.replaceChildren(...facts.map((movie) => rowOf(movie)));
    } catch (error) {
      if (error.name !== "AbortError") rows.replaceChildren(h("li", {}, problemPanel(error, look)));
    }
  }

  function rowOf(movie) {
    const row = h("li", { class: "catalogue-row", vars: { "--hue": hueOf(movie.genres[0], service.genres) } });
    draw(movie.hidden ? "hidden" : "listed");
    return row;

    function draw(state) {
      const isHidden = state === "hidden";
      row.replaceChildren(
        h(
          "div",
          {},
          h("h3", { class: "title" }, h("a", { href: movieRoute(movie.movie_id, viewer) }, movie.title), movie.year === null ? "" : h("span", { class: "year" }, ` ${movie.year}`)),
          h("p", { class: "muted small-text" }, `${words.plural(movie.ratings, "rating")} · id ${movie.movie_id}`),
          genreChips(movie, service.genres),
        ),
        h(
          "div",
          { class: "row-actions" },
          isHidden ? h("span", { class: "badge warn" }, "Hidden") : null,
          h("button", { type: "button", class: "quiet small", on: { click: () => hide(!isHidden) } }, isHidden ? "Show" : "Hide", h("span", { class: "unseen" }, ` ${movie.title}`)),
          h("button", { type: "button", class: "quiet small danger-text", on: { click: () => remove() } }, "Remove …", h("span", { class: "unseen" }, ` ${movie.title}`)),
        ),
      );
    }

    async function hide(hidden) {
      try {
        const { state } = await api.patch(`v1/movies/${part(movie.movie_id)}`, { hidden });
        draw(state);
        row.querySelector("button").focus();
        context.say(hidden ? `${movie.title} is hidden: no list holds it.` : `${movie.title} can be listed again.`);
      } catch (error) {
        context.fail(error);
      }
    }

    async function remove() {
      const answer = await ask({
        title: `Remove ${movie.title}?`,
        body: [h("p", {}, "No list and no search finds it from here on, and the next training goes without it. To take it out of lists only, hide it instead.")],
        confirm: "Remove",
        danger: true,
      });
      if (!answer) return;
      try {
        await api.delete(`v1/movies/${part(movie.movie_id)}`);
        row.remove();
        search.focus();
        context.say(`${movie.title} is removed.`);
        await changed();
      } catch (error) {
        context.fail(error);
      }
    }
  }

  async function add() {
    const answer = await ask({ title: "Add a movie", body: addFields(service), confirm: "Add", send: put });
    if (!answer) return;
    const title = answer.get("title").trim();
    context.say(`${title} can be listed.`);
    search.value = title;
    await changed();
    await look();
  }

  /** Add what was filled in; a movie that is there stays as it is. */
  async function put(filled) {
    const id = filled.get("id").trim();
    const known = await api.get(`v1/movies/${part(id)}`).catch((error) => {
      if (error.status === 404) return null;
      throw error;
    });
    if (known) throw new Error(`Id ${id} is ${words.titled(known)}; choose one that no movie has.`);
    const facts = { title: filled.get("title").trim(), genres: filled.getAll("genres") };
    if (filled.get("year")) facts.year = Number(filled.get("year"));
    for (const { name, kind } of furtherOf(service)) {
      const value = filled.get(`attribute-${name}`);
      if (value) facts[name] = kind === "number" ? Number(value) : value;
    }
    await api.put(`v1/movies/${part(id)}`, facts);
  }

  /** Draw anew what says how many movies there are. */
  const changed = () => Promise.all([context.refresh(), loadMap()]);

  async function loadMap() {
    try {
      await map.load();
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemPanel(error, loadMap));
    }
  }

  loadMap();
  return {
    update: () => true,
    leave() {
      asking.abort();
      map.leave();
    },
  };
}

/** Return the attributes that have no field of their own. */
const furtherOf = ({ attributes }) => attributes.filter(({ name }) => !["year", "genres"].includes(name));

function addFields(service) {
  const field = (id, label, properties = {}) => [
    h("label", { for: id }, label),
    h("input", { id, name: id.replace(/^new-/, ""), autocomplete: "off", ...properties }),
  ];
  return [
    h("p", { class: "muted" }, "The movie is placed by its facts, and moves with its first ratings."),
    ...field("new-id", "Id, which no other movie has", { required: true }),
    ...field("new-title", "Title", { required: true }),
    ...field("new-year", "Year", { type: "number", min: 1870, max: 2100 }),
    h("label", { for: "new-genres" }, "Genres"),
    h("select", { id: "new-genres", name: "genres", multiple: true, size: 5 }, service.genres.map((genre) => h("option", {}, genre))),
    ...furtherOf(service).flatMap(({ name }) => field(`new-attribute-${name}`, name)),
  ];
}
