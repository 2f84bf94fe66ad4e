// What the service does at this moment, asked every two seconds while somebody looks.

import { api } from "./api.js";
import { h } from "./dom.js";
import { problemPanel } from "./problem.js";
import { gradingPanel } from "./quality.js";
import { movieRoute, viewerOf, routeTo } from "./routes.js";
import { sparkline } from "./spark.js";
import * as words from "./words.js";

const PERIOD = 2000;
const CAPACITY = 60;
const RECENT = 12;

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);

// What a tile shows: its value in an answer, what its curve follows, and the unit beneath.
const TILES = [
  { name: "Requests a second", value: (stats) => stats.requests_per_second, text: (value) => words.decimal(value, 1), under: (stats) => `${words.count(stats.requests)} in all` },
  { name: "p99 of the slowest route", value: (stats) => slowest(stats)?.p99_ms ?? 0, text: (value) => words.milliseconds(value), under: (stats) => slowest(stats)?.route ?? "no request yet" },
  { name: "Events a second", value: (stats) => sum(Object.values(stats.events)), rate: true, text: (value) => words.decimal(value, 1), under: (stats) => `${words.count(sum(Object.values(stats.events)))} in all` },
  { name: "Errors a second", value: (stats) => stats.errors, rate: true, text: (value) => words.decimal(value, 1), under: (stats) => `${words.count(stats.errors)} in all` },
];

export function liveView(main, route, context) {
  context.name("Live");
  const viewer = viewerOf(route);
  const curves = TILES.map(() => []);
  let last = null;
  let paused = false;
  let timer = 0;
  let left = false;

  const pause = h("button", { type: "button", class: "quiet", "aria-pressed": "false", on: { click: () => toggle() } }, "Pause");
  const since = h("p", { class: "muted" }, "…");
  const trouble = h("div");
  const tiles = h("ul", { class: "tiles", "aria-label": "Now" });
  const routes = h("section", { class: "panel", "aria-labelledby": "routes-title" });
  const stages = h("section", { class: "panel", "aria-labelledby": "stages-title" });
  const people = h("section", { class: "panel", "aria-labelledby": "people-title" });
  const grading = h("div", { class: "grading-place" });
  const recent = h("section", { class: "panel", "aria-labelledby": "recent-title" });
  const page = h(
    "div",
    { class: "page live-page" },
    h("header", { class: "page-head" }, h("div", {}, h("h1", {}, "Live"), since), pause),
    trouble,
    tiles,
    h("div", { class: "live-grid" }, routes, stages, people, recent),
    grading,
  );
  main.append(page);

  function draw(stats) {
    since.textContent = `Running for ${words.duration(stats.uptime)}.`;
    const passed = last ? Math.max(stats.uptime - last.uptime, 0.001) : null;
    tiles.replaceChildren(...TILES.map((tile, place) => drawTile(tile, curves[place], stats, passed)));
    last = stats;
    redraw(routes, h("h2", { id: "routes-title" }, "By route"), routeTable(stats.by_route));
    redraw(stages, h("h2", { id: "stages-title" }, "By stage"), stageList(stats.stages));
    redraw(people, h("h2", { id: "people-title" }, "Who and what"), factList(stats, context.service));
    redraw(recent, h("h2", { id: "recent-title" }, "Newest events"), recentList(stats.recent, viewer));
    redraw(grading, gradingPanel(stats));
  }

  function drawTile(tile, curve, stats, passed) {
    const now = tile.value(stats);
    const before = last ? tile.value(last) : null;
    const value = tile.rate ? (before === null ? 0 : Math.max(now - before, 0) / passed) : now;
    curve.push(value);
    if (curve.length > CAPACITY) curve.shift();
    return h(
      "li",
      { class: "panel tile" },
      h("h2", {}, tile.name),
      h("p", { class: "tile-value" }, tile.text(value)),
      sparkline(curve, CAPACITY),
      h("p", { class: "muted small-text ellipsis" }, tile.under(stats)),
    );
  }

  async function poll() {
    try {
      const stats = await api.get("v1/stats");
      if (left) return;
      trouble.replaceChildren();
      page.classList.remove("stale");
      draw(stats);
    } catch (error) {
      if (!left) drawTrouble(error);
    }
    wait();
  }

  /** Say once what is wrong, however often it is asked: a screen reader reads it each time. */
  function drawTrouble(error) {
    page.classList.add("stale");
    if (trouble.firstChild?.dataset.problem === error.message) return;
    const panel = problemPanel(error, null);
    panel.dataset.problem = error.message;
    trouble.replaceChildren(panel);
  }

  function wait() {
    clearTimeout(timer);
    if (!paused && !left && !document.hidden) timer = setTimeout(poll, PERIOD);
  }

  function toggle() {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (paused) clearTimeout(timer);
    else poll();
  }

  document.addEventListener("visibilitychange", wait);
  poll();
  return {
    update: () => true,
    leave() {
      left = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wait);
    },
  };
}

/** Draw a panel anew, unless somebody's focus is in it and would be lost. */
function redraw(panel, ...children) {
  if (!panel.contains(document.activeElement)) panel.replaceChildren(...children);
}

function slowest({ by_route: routes }) {
  return [...routes].sort((one, other) => (other.p99_ms ?? 0) - (one.p99_ms ?? 0))[0];
}

function routeTable(routes) {
  if (!routes.length) return h("p", { class: "muted" }, "No request yet.");
  return h(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": "Requests by route" },
    h(
      "table",
      { class: "figures" },
      h("thead", {}, h("tr", {}, ["Route", "Requests", "p50", "p99"].map((name, place) => h("th", { scope: "col", class: place ? "number" : null }, name)))),
      h(
        "tbody",
        {},
        routes.map((each) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", class: "mono" }, each.route),
            h("td", { class: "number" }, words.count(each.count)),
            h("td", { class: "number" }, words.milliseconds(each.p50_ms)),
            h("td", { class: "number" }, words.milliseconds(each.p99_ms)),
          ),
        ),
      ),
    ),
  );
}

function stageList(stages) {
  if (!stages.length) return h("p", { class: "muted" }, "No list yet.");
  const longest = Math.max(...stages.map((each) => each.p50_ms ?? 0), 1e-9);
  return h(
    "dl",
    { class: "stages" },
    stages.map((each) =>
      h(
        "div",
        { class: "stage" },
        h("dt", {}, each.stage),
        h(
          "dd",
          {},
          h("span", { class: "meter", "aria-hidden": "true", vars: { "--width": `${(100 * (each.p50_ms ?? 0)) / longest}%` } }),
          h("span", { class: "number" }, words.milliseconds(each.p50_ms)),
        ),
      ),
    ),
  );
}

function factList(stats, service) {
  const kinds = Object.entries(stats.events).map(([kind, number]) => [`Events: ${kind}`, words.count(number)]);
  const facts = [
    ...kinds,
    ["Answers to new users", words.count(stats.cold_users)],
    ["Empty lists", words.count(stats.empty_lists)],
    ["Short lists", words.count(stats.short_lists)],
    ["Movies that lists showed", `${words.count(stats.coverage)} of ${words.count(service.movies)}`],
  ];
  return h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, value))));
}

function recentList(recent, viewer) {
  if (!recent.length) return h("p", { class: "muted" }, "No event yet.");
  return h(
    "ul",
    { class: "recent" },
    recent.slice(0, RECENT).map((each) =>
      h(
        "li",
        {},
        h("span", { class: "badge" }, each.kind),
        h(
          "span",
          { class: "ellipsis" },
          each.user_id === null ? null : h("a", { href: routeTo(["user", String(each.user_id)]) }, `user ${each.user_id}`),
          each.user_id === null || each.movie_id === null ? null : " · ",
          each.movie_id === null ? null : h("a", { href: movieRoute(each.movie_id, viewer) }, each.title ?? String(each.movie_id)),
        ),
        h("span", { class: "muted small-text" }, words.ago(each.at)),
      ),
    ),
  );
}
