// Small curves of numbers that come in one after another.

import { svg } from "./dom.js";

const WIDTH = 160;
const HEIGHT = 36;

/** Draw numbers, oldest first, as a curve from zero; what it says stands beside it in words. */
export function sparkline(values, capacity) {
  const known = values.map((value) => value ?? 0);
  const highest = Math.max(...known, 1e-9) * 1.1;
  const step = WIDTH / (capacity - 1);
  const start = WIDTH - (known.length - 1) * step;
  const points = known.map((value, place) => [
    start + place * step,
    HEIGHT - 2 - (value / highest) * (HEIGHT - 4),
  ]);
  const line = points.map(([x, y], place) => `${place ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const [endX, endY] = points.at(-1) ?? [0, HEIGHT];
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { class: "spark-floor", d: `M0 ${HEIGHT}H${WIDTH}` }),
    svg("path", { class: "spark-area", d: `${line}L${endX.toFixed(1)} ${HEIGHT}L${start.toFixed(1)} ${HEIGHT}Z` }),
    svg("path", { class: "spark-line", d: line }),
    svg("path", { class: "spark-end", d: `M${endX.toFixed(1)} ${endY.toFixed(1)}h0` }),
  );
}
