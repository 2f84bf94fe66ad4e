// What a user did, newest first, as a time line.

import { api, part } from "./api.js";
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import { arrange } from "./flip.js";
import { sentenceOf } from "./problem.js";
import { movieRoute } from "./routes.js";
import { given, ratingControl } from "./scale.js";
import { startingHistory } from "./viewer.js";
import * as words from "./words.js";

const STEP = 15;

/**
 * Make the panel of a history.
 * @param {object} options
 * @param {object} options.context
 * @param {(movie, event) => void} options.onEvent an event that changes an earlier one
 * @param {() => void} options.onForgotten
 */
export function historyPanel({ context, onEvent, onForgotten }) {
  const { service } = context;
  let viewer = { user: null, liked: [] };
  let events = [];
  let length = STEP;
  const rows = new Map();

  const list = h("ol", { class: "timeline" });
  const note = h("p", { class: "muted" });
  const more = h("button", { type: "button", class: "quiet small", hidden: true, on: { click: () => lengthen() } }, "Show older");
  const forget = h("button", { type: "button", class: "quiet small", hidden: true, on: { click: () => askToForget() } }, "Forget this user …");
  const element = h(
    "aside",
    { class: "panel history", "aria-labelledby": "history-title" },
    h("h2", { id: "history-title" }, "History"),
    note,
    list,
    h("div", { class: "history-actions" }, more, forget),
  );

  const keyOf = (event) => `${event.movie_id} ${event.kind} ${event.timestamp}`;

  function draw() {
    let day = null;
    const nodes = events.map((event) => {
      const own = words.dateOf(event.timestamp);
      const row = rowOf(event);
      row.querySelector(".day").textContent = own === day ? "" : own;
      day = own;
      return row;
    });
    arrange(list, nodes);
    note.textContent = events.length ? "" : "Nothing yet. What you rate appears here.";
    note.hidden = events.length > 0;
    more.hidden = !viewer.user || events.length < length;
    forget.hidden = !viewer.user || !events.length;
  }

  function rowOf(event) {
    const key = keyOf(event);
    if (!rows.has(key)) rows.set(key, makeRow(event));
    const row = rows.get(key);
    row.classList.toggle("pending", Boolean(event.pending));
    return row;
  }

  function makeRow(event) {
    const control = h("div", { class: "change", hidden: true });
    const change = h(
      "button",
      {
        type: "button",
        class: "link",
        "aria-expanded": "false",
        on: {
          click: () => {
            control.hidden = !control.hidden;
            change.setAttribute("aria-expanded", String(!control.hidden));
          },
        },
      },
      "change",
      h("span", { class: "unseen" }, ` ${event.title}`),
    );
    control.append(
      ratingControl({
        scale: service.scale,
        title: event.title,
        chosen: event.rating,
        onEvent: (next) => {
          onEvent(event, next); // which takes the focus along to the new row
          control.hidden = true;
          change.setAttribute("aria-expanded", "false");
        },
      }),
    );
    return h(
      "li",
      { class: Date.now() / 1000 - event.timestamp < 60 ? "fresh" : null },
      h("p", { class: "day" }),
      h(
        "p",
        { class: "event" },
        given(event),
        h("a", { href: movieRoute(event.movie_id, viewer) }, event.title),
      ),
      h(
        "p",
        { class: "muted small-text" },
        h("time", { datetime: new Date(event.timestamp * 1000).toISOString() }, words.timeOf(event.timestamp)),
        " · ",
        change,
      ),
      control,
    );
  }

  async function load(next = viewer) {
    viewer = next;
    try {
      events = viewer.user ? await stored() : await chosen();
      draw();
    } catch (error) {
      note.hidden = false;
      note.textContent = sentenceOf(error);
    }
  }

  async function stored() {
    const answer = await api.get(`v1/users/${part(viewer.user)}/history`, { limit: length });
    return answer.events;
  }

  async function chosen() {
    const starting = startingHistory(viewer, service).reverse();
    const movies = await Promise.all(starting.map((event) => api.get(`v1/movies/${part(event.movie_id)}`)));
    return starting.map((event, place) => ({
      ...event,
      title: movies[place].title,
      kind: event.rating === null ? "like" : "rating",
    }));
  }

  async function lengthen() {
    length += 2 * STEP;
    await load();
  }

  async function askToForget() {
    const answer = await ask({
      title: `Forget user ${viewer.user}?`,
      body: [
        h("p", {}, "Nobody finds anything of this user here any more, and the next training does without. What came in since the last training is deleted from the database; the files of the run hold the rest until that training, or until ", h("code", {}, "rec forget"), ". This cannot be undone."),
      ],
      confirm: "Forget",
      danger: true,
    });
    if (!answer) return;
    try {
      const { forgotten_events: number, events_in_run: kept } = await api.delete(`v1/users/${part(viewer.user)}`);
      const left = kept ? `; the files of the run hold ${words.plural(kept, "event")} until the next training` : "";
      context.say(`User ${viewer.user} is forgotten. ${words.plural(number - kept, "event")} deleted${left}.`);
      context.forgetLast();
      onForgotten();
    } catch (error) {
      context.fail(error);
    }
  }

  return {
    element,
    load,
    /** Show an event before the service has it. */
    add(event) {
      const hadFocus = list.contains(document.activeElement);
      event.pending = true;
      events = [event, ...events];
      draw();
      if (hadFocus) rowOf(event).querySelector("a").focus({ preventScroll: true });
    },
    /** Take back an event that the service refused. */
    remove(event) {
      events = events.filter((each) => each !== event);
      draw();
    },
  };
}
