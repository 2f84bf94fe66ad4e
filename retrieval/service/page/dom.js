// Elements. Texts only ever become text nodes, so that a title cannot be markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag
 * @param {object} properties attributes; `on` holds listeners, `vars` CSS custom properties; what
 *   is null, undefined or false is left out
 * @param children elements and texts; null is left out
 */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** Make an element of SVG, likewise. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, { on = {}, vars = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  setVars(element, vars);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set CSS custom properties, which a strict content security policy allows only this way. */
export function setVars(element, vars) {
  for (const [name, value] of Object.entries(vars)) element.style.setProperty(name, value);
}

const PATHS = {
  star: "M12 2.6l2.9 6 6.5.9-4.7 4.6 1.1 6.5L12 17.5l-5.8 3.1 1.1-6.5L2.6 9.5l6.5-.9z",
  check: "M4.5 12.5l5 5 10-11",
  sun: "M12 8a4 4 0 100 8 4 4 0 000-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2",
  moon: "M20 14.5A8.5 8.5 0 019.5 4a8.5 8.5 0 1010.5 10.5z",
  close: "M6 6l12 12M18 6L6 18",
  heart: "M12 20s-7.5-4.6-7.5-10A4.2 4.2 0 0112 7.3 4.2 4.2 0 0119.5 10C19.5 15.4 12 20 12 20z",
};

/** Return an icon that says nothing to a screen reader; what it stands on has the words. */
export function icon(name, box = "0 0 24 24") {
  return svg(
    "svg",
    { viewBox: box, "aria-hidden": "true", class: `icon icon-${name}` },
    svg("path", { d: PATHS[name] }),
  );
}

/** Return text that only a screen reader says. */
export function unseen(text) {
  return h("span", { class: "unseen" }, text);
}
