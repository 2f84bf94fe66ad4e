// The frame: the header, the router, and what all views share.

import { api, onKeyNeeded } from "./api.js";
import { catalogueView } from "./catalogue.js";
import { ask } from "./dialog.js";
import { h, icon } from "./dom.js";
import { listView } from "./list.js";
import { liveView } from "./live.js";
import { movieView } from "./movie.js";
import { problemPanel, sentenceOf } from "./problem.js";
import { qualityView } from "./quality.js";
import { listRoute, parseRoute, replaceRoute, routeTo, viewerOf, viewerParams } from "./routes.js";
import { searchView } from "./search.js";
import { startView } from "./start.js";
import * as words from "./words.js";

const VIEWS = {
  "": startView,
  user: listView,
  new: listView,
  movie: movieView,
  search: searchView,
  quality: qualityView,
  live: liveView,
  catalogue: catalogueView,
};

const SHOWN_FOR = 6000;
const TYPING_PAUSE = 250;

// Under which the tab keeps who was looked at last.
const LAST_USER = "last-user";

const main = document.getElementById("main");
const toast = document.getElementById("toast");
const searchText = document.getElementById("search-text");

let current = null;
let viewer = { user: null, liked: [] };

const context = {
  service: null,
  /** The user who was looked at last in this tab, if there was one. */
  lastUser: () => sessionStorage.getItem(LAST_USER),
  forgetLast: () => sessionStorage.removeItem(LAST_USER),
  /** Say what happened, to the eye and to a screen reader; `more` is what can be done about it. */
  say: (text, more = null) => say(text, more),
  /** Say what went wrong, and what did not happen for it. */
  fail: (error, undone = "") => say([undone, sentenceOf(error)].filter(Boolean).join(" "), null, true),
  /** Ask the service anew what it is: another run may answer, or it has other movies. */
  async refresh() {
    try {
      context.service = await api.get("v1/service");
      drawService();
    } catch {
      // What it was is still told; whoever asks for more hears of it.
    }
  },
  /** Let somebody new be a user from here on, wherever they have gone in the meantime. */
  become(somebody, user) {
    const { view, rest, query } = parseRoute(location.hash);
    const here = viewerOf({ view, rest, query });
    if (here.user || String(here.liked) !== String(somebody.liked)) return;
    const params = { ...Object.fromEntries(query), liked: null };
    if (view === "new") replaceRoute(listRoute({ user, liked: [] }, params));
    else replaceRoute(routeTo([view, ...rest], { ...params, user }));
  },
  /** Name the page in the browser's title. */
  name(text) {
    document.title = `${text} · ${context.service?.name ?? "rec"}`;
  },
};

let hiding = 0;

function say(text, more = null, bad = false) {
  clearTimeout(hiding);
  toast.replaceChildren(...[text, more].filter(Boolean));
  toast.classList.toggle("bad", bad);
  toast.classList.add("shown");
  hiding = setTimeout(() => toast.classList.remove("shown"), SHOWN_FOR);
}

async function askForKey(wasSent) {
  const answer = await ask({
    title: "This service needs its API key",
    body: [
      wasSent ? h("p", { class: "bad-text", role: "alert" }, "That is not the key of this service.") : null,
      h("p", {}, "The person who runs the service has it. It is kept until this tab is closed."),
      h("label", { for: "key" }, "API key"),
      h("input", { id: "key", name: "key", type: "password", required: true, autocomplete: "off" }),
    ],
    confirm: "Use this key",
  });
  return answer && answer.get("key");
}

function drawPlaces(route) {
  const list = h(
    "a",
    { href: listRoute(viewer), "aria-current": ["", "user", "new"].includes(route.view) && "page" },
    "For you",
  );
  const operator = [
    ["quality", "Quality"],
    ["live", "Live"],
    ["catalogue", "Catalogue"],
  ].map(([view, name]) =>
    h(
      "a",
      { href: routeTo([view], viewerParams(viewer)), "aria-current": route.view === view && "page" },
      name,
    ),
  );
  document
    .getElementById("places")
    .replaceChildren(list, h("span", { class: "places-rule", "aria-hidden": "true" }), ...operator);
}

/** Show the view of a route, or let the view that is there follow it. */
function follow() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const route = parseRoute(location.hash);
  viewer = viewerOf(route);
  if (viewer.user) sessionStorage.setItem(LAST_USER, viewer.user);
  const view = VIEWS[route.view];
  drawPlaces(route);
  if (document.activeElement !== searchText) searchText.value = route.query.get("q") ?? "";
  if (current && current.view === view && current.update?.(route)) return;
  const first = current === null;
  current?.leave?.();
  main.replaceChildren();
  current = { view, ...(view ? view(main, route, context) : lost()) };
  if (first || document.activeElement === searchText) return;
  scrollTo(0, 0);
  focusHeading();
}

/** Tell a screen reader where it is. */
function focusHeading() {
  const heading = main.querySelector("h1");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

function lost() {
  context.name("Not found");
  main.append(
    h(
      "div",
      { class: "page narrow" },
      h("h1", {}, "There is no such page"),
      h("p", {}, h("a", { href: "#/" }, "Go to the start"), "."),
    ),
  );
  return {};
}

function startTheme() {
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const draw = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    dispatchEvent(new Event("themechange"));
  };
  button.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
    draw();
  });
  dark.addEventListener("change", draw);
  draw();
}

function startSearch() {
  let typing = 0;
  const go = () => {
    clearTimeout(typing);
    const text = searchText.value.trim();
    const here = parseRoute(location.hash);
    const target = routeTo(["search"], { q: text, ...viewerParams(viewer) });
    // Each letter is no step of its own in the browser's history.
    if (here.view === "search") replaceRoute(target);
    else if (text) location.hash = target;
  };
  searchText.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(go, TYPING_PAUSE);
  });
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    go();
  });
}

function drawService() {
  const { service } = context;
  document
    .getElementById("service")
    .replaceChildren(
      `${service.name} ${service.version} · run ${service.run} · `,
      `${words.plural(service.movies, "movie")} · ${words.plural(service.users, "user")} · `,
      h("a", { href: "docs" }, "API"),
    );
}

async function start() {
  main.replaceChildren(h("p", { class: "page muted" }, "Asking the service …"));
  try {
    context.service = await api.get("v1/service");
  } catch (error) {
    main.replaceChildren(h("div", { class: "page narrow" }, h("h1", {}, "No answer yet"), problemPanel(error, start)));
    return;
  }
  drawService();
  addEventListener("hashchange", follow);
  follow();
}

document.getElementById("skip").addEventListener("click", () => {
  main.focus();
});
onKeyNeeded(askForKey);
startTheme();
startSearch();
start();
