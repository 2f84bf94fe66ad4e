// The start: somebody the service knows, or somebody new who chooses three movies.

import { api } from "./api.js";
import { smallCard } from "./card.js";
import { h } from "./dom.js";
import { problemPanel } from "./problem.js";
import { routeTo } from "./routes.js";
import * as words from "./words.js";

const NEEDED = 3;
const SHOWN = 9;
const TYPING_PAUSE = 200;

export function startView(main, route, context) {
  const { service } = context;
  context.name("What to watch next");
  main.append(
    h(
      "div",
      { class: "page start-page" },
      h(
        "header",
        { class: "hero" },
        h("h1", {}, "What shall I watch next?"),
        h(
          "p",
          { class: "lead" },
          `Lists from ${words.plural(service.movies, "movie")}, learned from ${words.plural(service.users, "user")}. ` +
            "Each list says how much you will like a movie, how sure that is, and why. What you rate counts in the very next list.",
        ),
      ),
      knownUser(context.lastUser()),
      newUser(service),
    ),
  );
  return {};
}

function knownUser(last) {
  const field = h("input", {
    id: "user-id",
    name: "user",
    type: "text",
    required: true,
    autocomplete: "off",
    placeholder: "42",
  });
  return h(
    "form",
    {
      class: "panel known-user",
      on: {
        submit: (event) => {
          event.preventDefault();
          const user = field.value.trim();
          if (user) location.hash = routeTo(["user", user]);
          else field.value = "";
        },
      },
    },
    h("h2", {}, "I have been here before"),
    h("p", { class: "muted" }, "Your list is made from all that you have rated and watched."),
    h("label", { for: "user-id" }, "User id"),
    h("div", { class: "row" }, field, h("button", { class: "primary" }, "Show my list")),
    last ? h("p", {}, h("a", { href: routeTo(["user", last]) }, `Go on as user ${last}`)) : null,
  );
}

function newUser(service) {
  const chosen = [];
  let typing = 0;
  let asking = new AbortController();
  const slots = h("ol", { class: "slots", "aria-label": "Chosen movies" });
  const go = h("button", { type: "button", class: "primary", on: { click: () => start() } });
  const search = h("input", { id: "choose", type: "search", autocomplete: "off", spellcheck: "false", maxlength: "200", placeholder: "A title, or a part of it" });
  const note = h("p", { class: "muted", role: "status" });
  const found = h("ul", { class: "grid", "aria-label": "Movies to choose from" });
  let movies = [];

  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, TYPING_PAUSE);
  });

  async function look() {
    const text = search.value.trim();
    asking.abort();
    asking = new AbortController();
    try {
      if (text) {
        ({ movies } = await api.get("v1/movies", { q: text, limit: SHOWN }, asking.signal));
        note.textContent = movies.length ? "" : `No movie is called “${text}”.`;
      } else {
        ({ movies } = await api.post("v1/recommendations", { history: [], k: Math.min(SHOWN, service.movies) }, {}, asking.signal));
        note.textContent = "What people like who are new here:";
      }
      drawFound();
    } catch (error) {
      if (error.name === "AbortError") return;
      found.replaceChildren(h("li", {}, problemPanel(error, look)));
    }
  }

  const isChosen = (movie) => chosen.some((each) => each.movie_id === movie.movie_id);

  function drawFound() {
    found.replaceChildren(
      ...movies.map((movie) =>
        smallCard(movie, {
          service,
          action: h(
            "button",
            {
              type: "button",
              class: isChosen(movie) ? "quiet small chosen" : "quiet small",
              "aria-pressed": String(isChosen(movie)),
              disabled: !isChosen(movie) && chosen.length === NEEDED,
              "data-movie": movie.movie_id,
              on: { click: () => toggle(movie) },
            },
            isChosen(movie) ? "Chosen" : "Choose",
            h("span", { class: "unseen" }, ` ${movie.title}`),
          ),
        }),
      ),
    );
  }

  function toggle(movie) {
    if (isChosen(movie)) chosen.splice(chosen.findIndex((each) => each.movie_id === movie.movie_id), 1);
    else chosen.push(movie);
    drawSlots();
    drawFound();
    const button = found.querySelector(`[data-movie="${CSS.escape(movie.movie_id)}"]`);
    if (chosen.length === NEEDED) go.focus();
    else button?.focus();
  }

  function drawSlots() {
    slots.replaceChildren(
      ...Array.from({ length: NEEDED }, (_, place) => {
        const movie = chosen[place];
        if (!movie) return h("li", { class: "slot" }, h("span", { class: "muted" }, `Movie ${place + 1}`));
        return h(
          "li",
          { class: "slot filled" },
          h("span", { class: "title" }, words.titled(movie)),
          h("button", { type: "button", class: "link", on: { click: () => toggle(movie) } }, "remove", h("span", { class: "unseen" }, ` ${movie.title}`)),
        );
      }),
    );
    const left = NEEDED - chosen.length;
    go.disabled = left > 0;
    go.textContent = left > 0 ? `Choose ${left} more` : "Show my list";
  }

  function start() {
    location.hash = routeTo(["new"], { liked: chosen.map((movie) => movie.movie_id).join(",") });
  }

  drawSlots();
  look();
  return h(
    "section",
    { class: "panel new-user", "aria-labelledby": "new-title" },
    h("h2", { id: "new-title" }, "I am new here"),
    h("p", { class: "muted" }, "Choose three movies that you love. Nothing is stored until you rate something."),
    h("div", { class: "slots-row" }, slots, go),
    h("label", { for: "choose" }, "Find movies to choose"),
    search,
    note,
    found,
  );
}
