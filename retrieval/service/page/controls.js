// The switches of a list: what ranks it, when it is for, how varied it is, what it may hold.

import { h } from "./dom.js";

const RANKINGS = [
  ["watch", "Next watch", "What is watched next, liked or not"],
  ["blend", "Mixed", "What is watched next and liked"],
  ["rating", "Rating", "What is liked most, if it is watched"],
];
const TIMES = [
  ["now", "Now", "At this moment"],
  ["coming-back", "Next visit", "When the user comes back"],
  ["in-sitting", "This sitting", "Right after the last movie"],
];
const NAMES = ["rank", "when", "diversity", "genre", "from", "to", "where"];

/** Return the parameters of a question that a route stands for. */
export function optionsOf({ query }) {
  const where = query.getAll("where").filter(Boolean);
  if (query.get("from")) where.push(`year>=${query.get("from")}`);
  if (query.get("to")) where.push(`year<=${query.get("to")}`);
  const options = {
    rank_by: query.get("rank"),
    when: query.get("when"),
    diversity: query.get("diversity") ? Number(query.get("diversity")) : null,
    genre: query.get("genre") ? [query.get("genre")] : null,
    where: where.length ? where : null,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));
}

/**
 * Make the form of a list's switches.
 * @param {object} options
 * @param {object} options.service
 * @param {(params: object) => void} options.onChange gets the parameters of the route
 */
export function listControls({ service, onChange }) {
  const amount = h("output", { for: "diversity" });
  const slider = h("input", { id: "diversity", name: "diversity", type: "range", min: 0, max: 1, step: 0.1, value: 0 });
  const genre = h(
    "select",
    { id: "genre", name: "genre" },
    h("option", { value: "" }, "All genres"),
    service.genres.map((name) => h("option", { value: name }, name)),
  );
  const year = (name, label) =>
    h("input", { name, type: "number", min: 1870, max: 2100, placeholder: label, "aria-label": `${label} year`, inputmode: "numeric" });
  const where = h("input", {
    id: "where",
    name: "where",
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    placeholder: "year<1960",
    "aria-describedby": "where-help",
  });
  const names = service.attributes.map((each) => each.name);
  const form = h(
    "form",
    { class: "controls" },
    segments("rank", "Rank by", RANKINGS.filter(([value]) => service.rankings.includes(value))),
    segments("when", "For when", TIMES),
    h(
      "div",
      { class: "field" },
      h("div", { class: "field-head" }, h("label", { for: "diversity" }, "Variety"), amount),
      slider,
    ),
    h("div", { class: "field" }, h("label", { for: "genre" }, "Genre"), genre),
    h(
      "fieldset",
      { class: "field" },
      h("legend", {}, "Years"),
      h("div", { class: "years" }, year("from", "First"), h("span", { "aria-hidden": "true" }, "–"), year("to", "Last")),
    ),
    h(
      "div",
      { class: "field", hidden: !names.length },
      h("label", { for: "where" }, "Only where"),
      where,
      h("p", { id: "where-help", class: "muted small-text" }, `Conditions on ${names.join(", ")}.`),
    ),
    h("button", { type: "reset", class: "quiet" }, "Clear"),
  );
  const showAmount = () => {
    const value = Number(slider.value);
    amount.textContent = value ? `${Math.round(value * 100)} %` : "off";
  };
  const tell = () => {
    showAmount();
    const filled = new FormData(form);
    const params = Object.fromEntries(NAMES.map((name) => [name, filled.get(name)]));
    if (params.diversity === "0") params.diversity = null;
    if (params.when === "now") params.when = null;
    onChange(params);
  };
  form.addEventListener("change", tell);
  slider.addEventListener("input", showAmount);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    onChange({});
  });
  const summary = h("summary", {}, "Switches and filters");
  const details = h("details", { class: "panel controls-panel", open: isWide() }, summary, form);
  return {
    element: h("section", { class: "list-controls", "aria-label": "Switches and filters" }, details),
    /** Show what a route asks for, and what ranks the list where it does not say. */
    show({ query }, ranking = null) {
      for (const name of ["genre", "from", "to", "where"]) {
        const field = form.elements[name];
        if (field !== document.activeElement) field.value = query.get(name) ?? "";
      }
      slider.value = query.get("diversity") ?? 0;
      showAmount();
      check(form, "when", query.get("when") ?? "now");
      check(form, "rank", query.get("rank") ?? ranking);
      summary.textContent = ["Switches and filters", ...filtersOf(query)].join(" · ");
    },
  };
}

/** Say what a list leaves out, for who has the filters closed. */
function filtersOf(query) {
  const [from, to] = [query.get("from"), query.get("to")];
  const years = from && to ? `${from}–${to}` : (from && `from ${from}`) || (to && `until ${to}`);
  return [query.get("genre"), years, query.get("where")].filter(Boolean);
}

const isWide = () => matchMedia("(min-width: 900px)").matches;

function check(form, name, value) {
  for (const radio of form.querySelectorAll(`input[name=${name}]`)) radio.checked = radio.value === value;
}

function segments(name, legend, choices) {
  return h(
    "fieldset",
    { class: "field" },
    h("legend", {}, legend),
    h(
      "div",
      { class: "segments" },
      choices.map(([value, label, help]) =>
        h("label", { title: help }, h("input", { type: "radio", name, value }), h("span", {}, label)),
      ),
    ),
  );
}
