// Runs side by side: how good each was in validation, which one answers, promoting, going back.

import { api, part } from "./api.js";
import { ask } from "./dialog.js";
import { h, svg } from "./dom.js";
import { problemPanel } from "./problem.js";
import * as words from "./words.js";

// What lies within one and two standard deviations of a normal distribution.
const WITHIN = [
  { field: "within_one_deviation", name: "the ±", goal: 0.683 },
  { field: "within_two_deviations", name: "twice the ±", goal: 0.954 },
];

const MEASURES = [
  { field: "validation_visit_ndcg", name: "NDCG of next visits", help: "order of what was liked when users came back; higher is better", digits: 4, better: 1 },
  { field: "validation_ndcg", name: "NDCG of last events", help: "order of what was watched last; higher is better", digits: 4, better: 1 },
  { field: "validation_rmse", name: "RMSE", help: "error of predicted ratings; lower is better", digits: 4, better: -1 },
];

export function qualityView(main, route, context) {
  context.name("Quality");
  const body = h("div", { class: "stack" });
  const back = h("button", { type: "button", class: "quiet", on: { click: () => rollBack() } }, "Roll back …");
  main.append(
    h(
      "div",
      { class: "page" },
      h("header", { class: "page-head" }, h("div", {}, h("h1", {}, "Quality"), h("p", { class: "muted" }, "Each run is one training. One of them answers; any other can take over without a failed request.")), back),
      body,
    ),
  );
  let runs = [];
  let answering = "";

  async function load() {
    try {
      const [versions, stats] = await Promise.all([api.get("v1/runs"), api.get("v1/stats")]);
      ({ runs, answering } = versions);
      back.disabled = !runs.some((run) => run.answered);
      body.replaceChildren(
        h("ul", { class: "runs", "aria-label": "Runs" }, runs.map((run) => runCard(run)), runs.length > 1 ? null : nextCard()),
        gradingPanel(stats),
      );
    } catch (error) {
      body.replaceChildren(problemPanel(error, load));
    }
  }

  const runNow = () => runs.find((run) => run.name === answering);

  function runCard(run) {
    const now = runNow();
    return h(
      "li",
      { class: run.answering ? "panel run answering" : "panel run" },
      h(
        "header",
        {},
        h("h2", { class: "mono" }, run.name),
        run.answering ? h("span", { class: "badge good" }, "Answering") : null,
      ),
      h("p", { class: "muted" }, `${run.preset ?? "own settings"} · trained ${whenOf(run.created)}`),
      h("dl", { class: "measures" }, MEASURES.map((measure) => measureOf(measure, run, now))),
      predictedAndGiven(run.calibration),
      h(
        "dl",
        { class: "facts" },
        [["Events", run.events], ["Users", run.users], ["Movies", run.movies]].map(([name, value]) =>
          h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, words.count(value))),
        ),
        coverageOf(run),
      ),
      run.answering || !run.promotable
        ? null
        : h("button", { type: "button", class: "primary", on: { click: () => promote(run) } }, "Promote …", h("span", { class: "unseen" }, ` ${run.name}`)),
    );
  }

  function measureOf({ field, name, help, digits, better }, run, now) {
    const value = run[field];
    const values = runs
      .filter((each) => each === now || isComparable(each, now))
      .map((each) => each[field])
      .filter((each) => each !== null && each !== undefined);
    const difference = isComparable(run, now) && (value ?? null) !== null && (now[field] ?? null) !== null ? value - now[field] : null;
    return h(
      "div",
      { class: "measure" },
      h("dt", {}, name, h("span", { class: "muted small-text" }, help)),
      h(
        "dd",
        {},
        h("strong", {}, words.decimal(value, digits)),
        difference === null ? null : differenceOf(difference, digits, better),
        isComparable(run, now) || run === now ? stripOf(value, values, better) : null,
      ),
    );
  }

  async function promote(run) {
    const now = runNow();
    const answer = await ask({
      title: "Let this run answer?",
      body: [
        h("p", {}, h("b", { class: "mono" }, run.name), ` is loaded beside `, h("b", { class: "mono" }, answering), ", warmed, and takes over in one step. Requests under way are finished by the run that began them; no request fails."),
        h("p", {}, "Everything that came in since its training counts there, too. You can roll back at any time."),
        comparison(run, now),
      ],
      confirm: "Promote",
    });
    if (answer) await change(`v1/runs/${part(run.name)}/promote`);
  }

  async function rollBack() {
    const answer = await ask({
      title: "Go back to the run before?",
      body: [
        h("p", {}, "The run that answered before ", h("b", { class: "mono" }, answering), " takes over again. No request fails, and no event is lost: what came in counts there, too."),
        h("p", {}, "This run stays, and can be promoted again."),
      ],
      confirm: "Roll back",
      danger: true,
    });
    if (answer) await change("v1/runs/rollback");
  }

  async function change(path) {
    try {
      const { answering: name } = await api.post(path);
      context.say(`${name} answers from here on.`);
      await Promise.all([load(), context.refresh()]);
    } catch (error) {
      context.fail(error);
    }
  }

  load();
  return { update: () => true };
}

/** Say where the next run comes from, if there is only one. */
const nextCard = () =>
  h(
    "li",
    { class: "run-next muted" },
    h("p", {}, "The next run stands here, beside this one, as soon as ", h("code", {}, "rec retrain"), " has made it."),
  );

/** Return whether two runs were asked about the same events, so that one can be called better. */
const isComparable = (run, now) =>
  Boolean(now) && now !== run && ["events", "users", "movies", "validation_visits"].every((name) => run[name] === now[name]);

/** Say what changes in numbers between two runs. */
function comparison(next, now) {
  if (!now) return null;
  const note = isComparable(next, now)
    ? null
    : h("p", { class: "muted" }, "Each was asked about events of its own data, so that these numbers do not say which is better. ", h("code", {}, "rec retrain"), " asks both the same before it promotes.");
  return [compareTable(next, now), note];
}

function compareTable(next, now) {
  return h(
    "table",
    { class: "compare" },
    h("thead", {}, h("tr", {}, h("td"), ["Now", "Then"].map((name) => h("th", { scope: "col" }, name)))),
    h(
      "tbody",
      {},
      MEASURES.map(({ field, name, digits }) =>
        h("tr", {}, h("th", { scope: "row" }, name), [now, next].map((run) => h("td", { class: "number" }, words.decimal(run[field], digits)))),
      ),
    ),
  );
}

function differenceOf(difference, digits, better) {
  if (Math.abs(difference) < 0.5 * 10 ** -digits) return h("span", { class: "muted" }, "the same");
  const good = difference * better > 0;
  return h("span", { class: good ? "good-text" : "bad-text" }, `${words.decimal(difference, digits, true)} ${good ? "better" : "worse"}`);
}

/** Draw where a run lies among all runs: the best on the right. */
function stripOf(value, values, better) {
  if (values.length < 2 || value === null || value === undefined) return null;
  const lowest = Math.min(...values);
  const width = Math.max(...values) - lowest;
  const placeOf = (each) => {
    const share = width ? (each - lowest) / width : 0.5;
    return `${100 * (better > 0 ? share : 1 - share)}%`;
  };
  return h(
    "span",
    { class: "strip", "aria-hidden": "true" },
    values.map((each) => h("span", { class: "strip-run", vars: { "--at": placeOf(each) } })),
    h("span", { class: "strip-run strip-own", vars: { "--at": placeOf(value) } }),
  );
}

/** Say how much of the catalogue lists reach. */
function coverageOf({ validation_coverage: coverage, validation_visits: visits }) {
  if ((coverage ?? null) === null) return null;
  return h("div", { class: "fact" }, h("dt", {}, `Movies in ${words.plural(visits, "list")} of ten`), h("dd", {}, words.share(coverage)));
}

const SIDE = 120;
const MARGIN = 6;

/** Draw what was predicted against what was then given: right on average is on the line. */
function predictedAndGiven(groups) {
  if (!groups?.length) return null;
  const ends = groups.flatMap(({ predicted, true: given }) => [predicted, given]);
  const lowest = Math.min(...ends);
  const width = Math.max(...ends) - lowest || 1;
  const place = (value) => MARGIN + ((value - lowest) / width) * (SIDE - 2 * MARGIN);
  const worst = groups.reduce((one, other) => (gapOf(other) > gapOf(one) ? other : one));
  return h(
    "figure",
    { class: "reliability" },
    h(
      "div",
      { class: "reliability-plot", "aria-hidden": "true" },
      svg(
        "svg",
        { viewBox: `0 0 ${SIDE} ${SIDE}` },
        svg("path", { class: "reliability-line", d: `M${MARGIN} ${SIDE - MARGIN}L${SIDE - MARGIN} ${MARGIN}` }),
        groups.map(({ predicted, true: given }) =>
          svg("circle", { class: "reliability-group", cx: place(predicted).toFixed(1), cy: (SIDE - place(given)).toFixed(1), r: 3 }),
        ),
      ),
      h("span", { class: "muted" }, "predicted →"),
      h("span", { class: "muted reliability-up" }, "given →"),
    ),
    h(
      "figcaption",
      {},
      h("b", {}, "Predicted and given"),
      h("span", { class: "muted" }, `${words.plural(groups.reduce((sum, { ratings }) => sum + ratings, 0), "rating")} held out, in ${words.plural(groups.length, "group")} by what was predicted. A dot on the line was right on average; above it, people liked more than was predicted.`),
      h("span", {}, `Furthest off: ${words.decimal(worst.predicted, 2)} predicted, ${words.decimal(worst.true, 2)} given.`),
      h("ul", { class: "unseen" }, groups.map(({ predicted, true: given }) => h("li", {}, `${words.decimal(predicted, 2)} predicted, ${words.decimal(given, 2)} given`))),
    ),
  );
}

const gapOf = (group) => Math.abs(group.predicted - group.true);

function whenOf(created) {
  const seconds = typeof created === "number" ? created : Date.parse(created) / 1000;
  return Number.isFinite(seconds) ? words.ago(seconds) : String(created);
}

/** Show how the run that answers did on what came in: each event was predicted before it counted. */
export function gradingPanel({ grading }) {
  return h(
    "section",
    { class: "panel", "aria-labelledby": "grading-title" },
    h("h2", { id: "grading-title" }, "Graded live"),
    h("p", { class: "muted" }, "Every rating that comes in is predicted before it counts, so the run grades itself."),
    h("div", { class: "gradings" }, gradeOf("Last hour", grading?.hour), gradeOf("Last day", grading?.day)),
  );
}

function gradeOf(name, grade) {
  const ratings = grade?.ratings ?? 0;
  const plays = grade?.plays ?? 0;
  return h(
    "section",
    { class: "grade" },
    h("h3", {}, name),
    h(
      "dl",
      { class: "facts" },
      h("div", { class: "fact" }, h("dt", {}, `RMSE of ${words.plural(ratings, "rating")}`), h("dd", {}, words.decimal(ratings ? grade.rmse : null, 3))),
      h("div", { class: "fact" }, h("dt", {}, `Found in the list of 20, of ${words.plural(plays, "play")}`), h("dd", {}, words.share(plays ? grade.hit_at_20 : null))),
    ),
    ratings ? WITHIN.map((each) => calibrationOf(each, grade[each.field])) : null,
  );
}

/** Show how many ratings lay within the ±, and how many should. */
function calibrationOf({ name, goal }, within) {
  if (within === null || within === undefined) return null;
  return [
    h("p", { class: "calibration-text" }, `${words.share(within)} lie within ${name}; ${words.share(goal)} should.`),
    h(
      "div",
      { class: "calibration", "aria-hidden": "true", vars: { "--width": `${100 * within}%`, "--goal": `${100 * goal}%` } },
      h("span", { class: "calibration-goal" }),
    ),
  ];
}
