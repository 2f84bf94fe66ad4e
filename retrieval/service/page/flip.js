// Rearranging a list so that the eye can follow: only what moved moves.

const LENGTH = 420;
const EASING = "cubic-bezier(0.2, 0, 0, 1)";

const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * Make nodes the children of a list. Those that stay glide to their place, others fade.
 * @param {HTMLElement} list positioned, so that what leaves can fade where it was
 * @param {HTMLElement[]} nodes
 */
export function arrange(list, nodes) {
  const old = [...list.children].filter((node) => !node.inert);
  if (isStill() || !old.length) {
    place(list, nodes, new Set(nodes));
    return;
  }
  const before = new Map(old.map((node) => [node, node.getBoundingClientRect().top]));
  const kept = new Set(nodes);
  const leaving = old.filter((node) => !kept.has(node)).map((node) => ghostOf(node));
  place(list, nodes, kept);
  list.append(...leaving);
  for (const node of nodes) {
    if (!before.has(node)) {
      node.animate({ opacity: [0, 1] }, { duration: LENGTH, easing: EASING });
      continue;
    }
    const moved = before.get(node) - node.getBoundingClientRect().top;
    if (Math.abs(moved) < 1) continue;
    node.animate(
      { transform: [`translateY(${moved}px)`, "none"] },
      { duration: LENGTH, easing: EASING },
    );
  }
  for (const ghost of leaving) {
    const fading = ghost.animate({ opacity: [1, 0] }, { duration: LENGTH / 2, fill: "forwards" });
    fading.finished.then(() => ghost.remove());
  }
}

/** Put nodes into a list, and touch none that lies where it has to: it may have the focus. */
function place(list, nodes, kept) {
  for (const node of [...list.children]) if (!kept.has(node)) node.remove();
  let next = list.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else list.insertBefore(node, next);
  }
}

/** Return a copy of a node that lies where it was and can be neither read nor used. */
function ghostOf(node) {
  const ghost = node.cloneNode(true);
  for (const named of [ghost, ...ghost.querySelectorAll("[id]")]) named.removeAttribute("id");
  ghost.inert = true;
  ghost.setAttribute("aria-hidden", "true");
  ghost.classList.add("ghost");
  ghost.style.setProperty("--top", `${node.offsetTop}px`);
  return ghost;
}

/**
 * Say in words how a list changed.
 * @param {string[]} before titles, best first
 * @param {string[]} after likewise
 */
export function changeOf(before, after) {
  const came = after.filter((each) => !before.includes(each));
  // Places are compared among what stayed, so that one movie that leaves is not twenty that rise.
  const stayedBefore = before.filter((each) => after.includes(each));
  const stayedAfter = after.filter((each) => before.includes(each));
  const steps = stayedAfter.map((each, place) => stayedBefore.indexOf(each) - place);
  return {
    came,
    up: steps.filter((step) => step > 0).length,
    down: steps.filter((step) => step < 0).length,
  };
}
