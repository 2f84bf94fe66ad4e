// Numbers, times and lists of things as people read them.

// Dates and digits as the reader writes them, where that is English, as the page is.
const LOCALE = navigator.languages.find((each) => each.startsWith("en")) ?? "en";
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const short = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(LOCALE, { style: "percent", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(LOCALE, { timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto" });
const list = new Intl.ListFormat(LOCALE, { type: "conjunction" });

export const MISSING = "–";

const known = (value) => value !== null && value !== undefined;

export const count = (value) => (known(value) ? whole.format(value) : MISSING);
export const rating = (value) => (known(value) ? tenths.format(value) : MISSING);
export const level = (value) => (known(value) ? short.format(value) : MISSING);
export const share = (value) => (known(value) ? percent.format(value) : MISSING);

/** Write a number with some digits after the point, with its sign if it is a difference. */
export function decimal(value, digits = 3, signed = false) {
  if (!known(value)) return MISSING;
  const text = Math.abs(value).toFixed(digits);
  if (!signed) return value < 0 ? `−${text}` : text;
  return `${value < 0 ? "−" : "+"}${text}`;
}

export function milliseconds(value) {
  if (!known(value)) return MISSING;
  return `${value < 10 ? value.toFixed(2) : whole.format(value)} ms`;
}

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

export const conjunction = (texts) => list.format(texts);

export const dateOf = (seconds) => day.format(new Date(seconds * 1000));
export const timeOf = (seconds) => clock.format(new Date(seconds * 1000));

const UNITS = [
  ["year", 31557600],
  ["month", 2629800],
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** Say how long ago a time was, in the largest unit that fits. */
export function ago(seconds, now = Date.now() / 1000) {
  const passed = now - seconds;
  for (const [unit, length] of UNITS) {
    if (Math.abs(passed) >= length) return relative.format(-Math.round(passed / length), unit);
  }
  return "just now";
}

/** Say for how long something has lasted, in its two largest units. */
export function duration(seconds) {
  const parts = [];
  let left = Math.round(seconds);
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]]) {
    const number = Math.floor(left / length);
    left -= number * length;
    if (number > 0 && parts.length < 2) parts.push(plural(number, unit));
  }
  return parts.length ? parts.join(" ") : "0 seconds";
}

/** Write a movie's title with its year. */
export const titled = (movie) => (known(movie.year) ? `${movie.title} (${movie.year})` : movie.title);
