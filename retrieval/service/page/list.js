// The list of a user, what ranks and filters it, and the history beside it.

import { api, part } from "./api.js";
import { movieCard } from "./card.js";
import { listControls, optionsOf } from "./controls.js";
import { h } from "./dom.js";
import { arrange, changeOf } from "./flip.js";
import { historyPanel } from "./history.js";
import { problemPanel } from "./problem.js";
import { listRoute, movieRoute, replaceRoute, viewerOf } from "./routes.js";
import { NOT_SAVED, sendAs, startingHistory } from "./viewer.js";
import * as words from "./words.js";

const STEP = 20;

// Milliseconds without scrolling after which the place is kept.
const SCROLLING_PAUSE = 150;

export function listView(main, route, context) {
  const { service } = context;
  const kept = window.history.state ?? {}; // of this step of the browser's history, if it was left
  let viewer = viewerOf(route);
  let length = kept.length ?? STEP;
  let left = false;
  let sending = Promise.resolve(); // events are sent one after another
  let shown = []; // what the list holds, best first
  let asking = new AbortController();
  const cards = new Map();

  const heading = h("h1");
  const about = h("p", { class: "muted about" });
  const status = h("p", { class: "status", role: "status" });
  const trouble = h("div");
  const list = h("ol", { class: "cards", "aria-label": "Recommended movies" });
  const more = h(
    "button",
    { type: "button", class: "quiet more", hidden: true, on: { click: () => lengthen() } },
    `Show ${STEP} more`,
  );
  const controls = listControls({
    service,
    onChange: (params) => replaceRoute(listRoute(viewer, params)),
  });
  const history = historyPanel({
    context,
    onEvent: (movie, event) => tell(movie, event),
    onForgotten: () => {
      location.hash = "#/";
    },
  });
  main.append(
    h(
      "div",
      { class: "page list-page" },
      h("header", { class: "list-head" }, heading, about),
      controls.element,
      h("section", { class: "list-main", "aria-label": "List" }, status, trouble, list, more),
      history.element,
    ),
  );

  function draw(movies) {
    for (const movie of movies) {
      const id = String(movie.movie_id);
      if (!cards.has(id)) {
        cards.set(
          id,
          movieCard({
            service,
            linkOf: (other) => movieRoute(other, viewer),
            onEvent: (rated, event) => tell(rated, event),
          }),
        );
      }
      cards.get(id).update(movie);
      cards.get(id).busy(false);
    }
    arrange(
      list,
      movies.map((movie) => cards.get(String(movie.movie_id)).element),
    );
    shown = movies;
    more.hidden = movies.length < length;
  }

  /** Ask for the list, and say how it differs from the one before. */
  async function load(what = "") {
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    list.classList.add("waiting");
    if (!shown.length) list.replaceChildren(...skeletons());
    try {
      const answer = await ask({}, signal);
      trouble.replaceChildren();
      if (left) return;
      const before = shown;
      if (!before.length) list.replaceChildren();
      draw(answer.movies);
      describe(answer);
      controls.show(route, answer.rank_by);
      status.textContent = before.length || what ? sentence(what, before, answer.movies) : "";
      list.classList.remove("waiting");
      if (answer.run !== context.service.run) context.refresh();
      explain(signal);
    } catch (error) {
      if (left || error.name === "AbortError") return;
      if (!shown.length) list.replaceChildren();
      list.classList.remove("waiting");
      trouble.replaceChildren(problemPanel(error, () => load()));
    }
  }

  /** Say why each movie is there: that takes many times as long as the list, which does not wait. */
  async function explain(signal) {
    try {
      const { movies } = await ask({ explain: true }, signal);
      for (const movie of movies) cards.get(String(movie.movie_id))?.explain(movie.because);
    } catch (error) {
      if (error.name !== "AbortError") context.fail(error);
    }
  }

  function ask(further, signal) {
    const options = { k: Math.min(length, service.movies), ...optionsOf(route), ...further };
    if (viewer.user) return api.get(`v1/users/${part(viewer.user)}/recommendations`, options, signal);
    const history = startingHistory(viewer, service);
    return api.post("v1/recommendations", { history, ...options }, {}, signal);
  }

  function describe(answer) {
    const who = viewer.user ? `For user ${viewer.user}` : "For you";
    heading.textContent = who;
    context.name(who);
    const parts = [];
    if (!answer.movies.length) parts.push("No movie is left: loosen the filters.");
    else if (!viewer.user) {
      parts.push(`A list from the ${words.plural(viewer.liked.length, "movie")} you chose. Rate one, and the next list knows.`);
    } else if (!answer.known) {
      parts.push("Nothing is known of this user yet, so this is the list for somebody new.");
    } else if (!answer.stale) parts.push("Every rating counts in the very next list.");
    if (answer.stale) parts.push("The database of events is away: what came in last may be missing.");
    about.textContent = parts.join(" ");
  }

  async function lengthen() {
    length += STEP;
    const last = shown.length;
    await load();
    keep();
    list.children[last]?.focus();
  }

  /** Take in an event: the history shows it at once, the list as soon as it is answered. */
  async function tell(movie, event) {
    const timestamp = Math.floor(Date.now() / 1000);
    const place = shown.findIndex((each) => each.movie_id === movie.movie_id);
    const card = cards.get(String(movie.movie_id));
    const hadFocus = card?.element.contains(document.activeElement);
    const row = { movie_id: movie.movie_id, title: movie.title, timestamp, ...event };
    card?.busy(true);
    history.add(row);
    const somebody = viewer;
    sending = sending.then(() => send(somebody, row));
    const error = await sending;
    if (error) {
      card?.busy(false);
      history.remove(row);
      context.fail(error, NOT_SAVED);
      return;
    }
    if (left) return;
    const said = sentenceOfEvent(movie, event);
    await Promise.all([load(said), history.load(viewer)]);
    if (hadFocus && place >= 0) list.children[place]?.focus({ preventScroll: true });
    if (!isInSight(status)) context.say(said, h("a", { href: movieRoute(movie.movie_id, viewer) }, "Change it"));
  }

  /** Send an event; return what failed. */
  async function send(somebody, row) {
    try {
      await sendAs(somebody, service, row);
    } catch (error) {
      return error;
    }
    if (!somebody.user) {
      if (viewer === somebody) viewer = { user: somebody.id, liked: [] };
      context.become(somebody, somebody.id);
    }
    return null;
  }

  /** Follow a route; return whether it is still of the same viewer. */
  function follow(next) {
    const here = viewerOf(next);
    const isSame = here.user === viewer.user && String(here.liked) === String(viewer.liked);
    if (!isSame) viewer = here;
    route = next;
    controls.show(route);
    return isSame;
  }

  /** Keep how far the list was looked through, for whoever comes back to it. */
  function keep() {
    clearTimeout(keeping);
    keeping = setTimeout(() => {
      if (!left) window.history.replaceState({ length, ...firstInSight(list) }, "");
    }, SCROLLING_PAUSE);
  }

  let keeping = 0;
  follow(route);
  heading.textContent = viewer.user ? `For user ${viewer.user}` : "For you";
  history.load(viewer);
  load().then(() => {
    if (left) return;
    const first = list.children[kept.place];
    if (first) scrollBy(0, first.getBoundingClientRect().top - kept.top);
    addEventListener("scroll", keep, { passive: true });
  });
  return {
    update(next) {
      const before = String(route.query);
      const isSame = follow(next);
      if (!isSame) {
        shown = [];
        history.load(viewer);
      }
      if (!isSame || before !== String(route.query)) load();
      return true;
    },
    leave() {
      left = true;
      asking.abort();
      clearTimeout(keeping);
      removeEventListener("scroll", keep);
    },
  };
}

/** Return which card is the first that can be seen, and where: cards grow as reasons come in. */
function firstInSight(list) {
  const tops = [...list.children].map((card) => card.getBoundingClientRect().top);
  const place = tops.findIndex((top) => top >= 0);
  return place > 0 ? { place, top: tops[place] } : {};
}

/** Return whether an element can be seen without scrolling. */
function isInSight(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}

const skeletons = () =>
  Array.from({ length: 6 }, () => h("li", { class: "card skeleton", "aria-hidden": "true" }));

function sentenceOfEvent(movie, event) {
  if (event.kind === "rating") return `You rated ${movie.title} ${words.level(event.rating)}.`;
  return `You ${event.kind === "like" ? "liked" : "watched"} ${movie.title}.`;
}

function sentence(what, before, after) {
  const ids = (movies) => movies.map((movie) => String(movie.movie_id));
  const { came, up, down } = changeOf(ids(before), ids(after));
  const parts = [];
  if (up) parts.push(`${words.plural(up, "movie")} moved up`);
  if (down) parts.push(`${count(down, up)} moved down`);
  const titles = after.filter((movie) => came.includes(String(movie.movie_id)));
  if (titles.length === 1 || titles.length === 2) {
    parts.push(`${words.conjunction(titles.map((movie) => `${movie.title} at ${movie.rank}`))} came in`);
  } else if (titles.length) parts.push(`${words.plural(titles.length, "movie")} came in`);
  const change = parts.length ? `${words.conjunction(parts)}.` : "The list stays as it was.";
  return [what, change].filter(Boolean).join(" ");
}

const count = (number, said) => (said ? words.count(number) : words.plural(number, "movie"));
