// A map of movies: those that the same people like lie near each other. Drawn on a canvas; the
// table beneath says the same in words.

import { api } from "./api.js";
import { hueOf } from "./card.js";
import { h } from "./dom.js";
import * as words from "./words.js";

const MARGIN = 16;
const REACH = 24; // pixels around the pointer in which a movie is found
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TOP = 3;

/**
 * Make the map.
 * @param {object} options
 * @param {object} options.service
 * @param {(movie) => string} options.linkOf the route of a movie
 */
export function movieMap({ service, linkOf }) {
  let movies = [];
  let places = []; // [x, y] in pixels of the canvas, a movie each
  let looked = null; // number of the movie that is read
  const hidden = new Set(); // genres that are switched off

  const canvas = h("canvas", {
    tabindex: "0",
    role: "application",
    "aria-roledescription": "map of movies",
    "aria-label": "Map of movies. The arrow keys go to the next movie in their direction, Enter opens it. The table beneath says where genres lie.",
  });
  const reading = h("p", { class: "map-reading", role: "status" }, "Point at a dot, or use the arrow keys.");
  const legend = h("ul", { class: "legend", "aria-label": "Genres on the map" });
  const inWords = h("details", { class: "map-words" });
  const element = h("figure", { class: "map" }, canvas, reading, legend, inWords);

  const isShown = (movie) => !hidden.has(movie.genre);

  function draw() {
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width || !movies.length) return;
    const density = devicePixelRatio || 1;
    canvas.width = width * density;
    canvas.height = height * density;
    const brush = canvas.getContext("2d");
    brush.scale(density, density);
    brush.clearRect(0, 0, width, height);
    places = placesOf(movies, width, height);
    const colours = coloursOf(element, movies, service.genres);
    for (const [number, movie] of movies.entries()) {
      if (!isShown(movie)) continue;
      const [x, y] = places[number];
      brush.globalAlpha = 0.72;
      brush.fillStyle = colours.get(movie.genre);
      brush.beginPath();
      brush.arc(x, y, sizeOf(movie, movies), 0, 2 * Math.PI);
      brush.fill();
    }
    brush.globalAlpha = 1;
    if (looked !== null) mark(brush, movies[looked], places[looked], colours, width);
  }

  function mark(brush, movie, [x, y], colours, width) {
    const style = getComputedStyle(canvas);
    brush.lineWidth = 2;
    brush.strokeStyle = style.color;
    brush.fillStyle = colours.get(movie.genre);
    brush.beginPath();
    brush.arc(x, y, sizeOf(movie, movies) + 3, 0, 2 * Math.PI);
    brush.fill();
    brush.stroke();
    const text = words.titled(movie);
    brush.font = `600 13px ${style.fontFamily}`;
    const long = brush.measureText(text).width;
    const left = x + long + 30 > width ? x - long - 16 : x + 14;
    brush.fillStyle = style.backgroundColor;
    brush.globalAlpha = 0.9;
    brush.fillRect(left - 6, y - 12, long + 12, 24);
    brush.globalAlpha = 1;
    brush.fillStyle = style.color;
    brush.textBaseline = "middle";
    brush.fillText(text, left, y + 1);
  }

  function look(number) {
    if (number === looked) return;
    looked = number;
    if (number !== null) {
      const movie = movies[number];
      reading.replaceChildren(
        h("a", { href: linkOf(movie) }, words.titled(movie)),
        ` · ${movie.genre ?? "no genre"} · ${words.plural(movie.ratings, "rating")}`,
      );
    }
    draw();
  }

  function nearest(x, y, reach, accept = () => true) {
    let best = null;
    let least = reach ** 2;
    for (const [number, movie] of movies.entries()) {
      if (!isShown(movie) || !accept(places[number])) continue;
      const distance = (places[number][0] - x) ** 2 + (places[number][1] - y) ** 2;
      if (distance < least) [best, least] = [number, distance];
    }
    return best;
  }

  const under = (event) => nearest(event.offsetX, event.offsetY, REACH);

  canvas.addEventListener("pointermove", (event) => {
    const number = under(event);
    canvas.classList.toggle("on-movie", number !== null);
    if (number !== null) look(number);
  });
  canvas.addEventListener("click", (event) => {
    const number = under(event);
    // A finger first reads a dot, and opens it from the line beneath.
    if (number !== null && event.pointerType === "mouse") location.hash = linkOf(movies[number]);
    else look(number);
  });
  canvas.addEventListener("focus", () => {
    if (looked === null) look(movies.findIndex(isShown) < 0 ? null : movies.findIndex(isShown));
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && looked !== null) location.hash = linkOf(movies[looked]);
    const direction = DIRECTIONS[event.key];
    if (!direction || looked === null) return;
    event.preventDefault();
    const [x, y] = places[looked];
    const [dx, dy] = direction;
    // Within 45 degrees of where the arrow points.
    const isAhead = ([px, py]) => {
      const along = (px - x) * dx + (py - y) * dy;
      const across = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
      return along > 0.5 && across <= along;
    };
    const next = nearest(x, y, Infinity, isAhead);
    if (next !== null) look(next);
  });

  function drawLegend() {
    legend.replaceChildren(
      ...genresOf(movies).map(([genre, members]) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              class: "chip",
              "aria-pressed": String(!hidden.has(genre)),
              vars: { "--hue": hueOf(genre, service.genres) },
              on: {
                click: (event) => {
                  if (!hidden.delete(genre)) hidden.add(genre);
                  event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(genre)));
                  if (looked !== null && !isShown(movies[looked])) looked = null;
                  draw();
                },
              },
            },
            `${genre ?? "No genre"} ${words.count(members.length)}`,
          ),
        ),
      ),
    );
  }

  function drawWords() {
    const groups = genresOf(movies);
    const centres = new Map(groups.map(([genre, members]) => [genre, centreOf(members)]));
    inWords.replaceChildren(
      h("summary", {}, "The map in words"),
      h(
        "div",
        { class: "wide", tabindex: "0", role: "region", "aria-label": "Genres on the map" },
        h(
          "table",
          { class: "figures" },
          h("thead", {}, h("tr", {}, ["Genre", "Movies", "Lies nearest to", "Most rated"].map((name) => h("th", { scope: "col" }, name)))),
          h(
            "tbody",
            {},
            groups.map(([genre, members]) =>
              h(
                "tr",
                {},
                h("th", { scope: "row" }, genre ?? "No genre"),
                h("td", { class: "number" }, words.count(members.length)),
                h("td", {}, nearestGenre(genre, centres) ?? words.MISSING),
                h("td", {}, members.slice(0, TOP).map((movie, place) => [place ? ", " : "", h("a", { href: linkOf(movie) }, movie.title)]).flat()),
              ),
            ),
          ),
        ),
      ),
    );
  }

  new ResizeObserver(draw).observe(canvas);
  const onTheme = () => draw();
  addEventListener("themechange", onTheme);
  return {
    element,
    async load() {
      ({ movies } = await api.get("v1/movies/map"));
      looked = null;
      drawLegend();
      drawWords();
      draw();
    },
    leave: () => removeEventListener("themechange", onTheme),
  };
}

/** Return where each movie lies on a canvas. */
function placesOf(movies, width, height) {
  const ends = ["x", "y"].map((axis) => {
    const values = movies.map((movie) => movie[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const [[left, right], [bottom, top]] = ends;
  return movies.map(({ x, y }) => [
    MARGIN + ((x - left) / (right - left || 1)) * (width - 2 * MARGIN),
    MARGIN + ((top - y) / (top - bottom || 1)) * (height - 2 * MARGIN),
  ]);
}

/** Return the radius of a dot, whose area follows the number of ratings. */
function sizeOf(movie, movies) {
  return 2 + 5 * Math.sqrt(movie.ratings / Math.max(movies[0].ratings, 1));
}

/** Return the colours of genres as the style sheet has them. */
function coloursOf(element, movies, genres) {
  const colours = new Map();
  for (const genre of new Set(movies.map((movie) => movie.genre))) {
    const probe = h("i", { class: "genre-colour", hidden: true, vars: { "--hue": hueOf(genre, genres) } });
    element.append(probe);
    colours.set(genre, getComputedStyle(probe).color);
    probe.remove();
  }
  return colours;
}

/** Return movies by genre, the most frequent genre first, in each the most rated first. */
function genresOf(movies) {
  const groups = new Map();
  for (const movie of movies) groups.set(movie.genre, [...(groups.get(movie.genre) ?? []), movie]);
  return [...groups].sort((one, other) => other[1].length - one[1].length);
}

function centreOf(members) {
  const mean = (axis) => members.reduce((sum, movie) => sum + movie[axis], 0) / members.length;
  return [mean("x"), mean("y")];
}

function nearestGenre(genre, centres) {
  const [x, y] = centres.get(genre);
  const others = [...centres].filter(([name]) => name !== genre);
  others.sort((one, other) => Math.hypot(one[1][0] - x, one[1][1] - y) - Math.hypot(other[1][0] - x, other[1][1] - y));
  return others[0]?.[0];
}
