// Routes live behind the #, so that every view can be linked and reloaded from one file.

/** Read a route such as `#/user/42?rank=watch`. */
export function parseRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  try {
    const [view = "", ...rest] = path.split("/").map(decodeURIComponent);
    return { view, rest, query: new URLSearchParams(query) };
  } catch {
    return { view: "unreadable", rest: [], query: new URLSearchParams() };
  }
}

/** Write a route; parameters that say nothing are left out. */
export function routeTo(parts, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Change the route without a step in the browser's history. */
export function replaceRoute(route) {
  history.replaceState(null, "", route);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/**
 * Who looks: a user by id, or somebody new by the movies they chose. Links carry it on.
 * @returns {{user: string|null, liked: string[]}}
 */
export function viewerOf(route) {
  const user = route.view === "user" ? route.rest[0] : route.query.get("user");
  const liked = route.query.get("liked");
  return { user: user || null, liked: liked ? liked.split(",") : [] };
}

export function viewerParams({ user, liked }) {
  return { user, liked: liked.length ? liked.join(",") : null };
}

export const movieRoute = (id, viewer) => routeTo(["movie", id], viewerParams(viewer));

/** Return the list of who looks, or the start if nobody does. */
export function listRoute(viewer, params = {}) {
  if (viewer.user) return routeTo(["user", viewer.user], params);
  if (viewer.liked.length) return routeTo(["new"], { liked: viewer.liked.join(","), ...params });
  return "#/";
}
