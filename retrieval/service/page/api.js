// Requests to the service. An answer that is no success becomes an ApiError with its sentence.

const KEY = "api-key";

/** What the service refused, or that it did not answer. */
export class ApiError extends Error {
  constructor(detail, { status = 0, code = "no_answer", title = "", requestId = null } = {}) {
    super(detail);
    Object.assign(this, { status, code, title, requestId });
  }
}

// Set by the frame: asks the person for the key, told whether one was sent that is not the right
// one, and gives it, or null if there will be none.
let askForKey = async () => null;

export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** Return parameters without those that say nothing; an array repeats its parameter. */
function queryOf(params) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const each of [value].flat()) {
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
    }
  }
  return query;
}

async function send(method, path, { params = {}, body, headers = {}, signal } = {}) {
  const url = new URL(path, document.baseURI);
  url.search = queryOf(params);
  const key = sessionStorage.getItem(KEY);
  const all = { Accept: "application/json", ...headers };
  if (key) all.Authorization = `Bearer ${key}`;
  if (body !== undefined) all["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service does not answer. Start it with `rec serve`, then try again.");
  }
  if (response.ok) return JSON.parse(await response.text(), readable);
  throw await problemOf(response);
}

// Catalogues that are sorted by title put its article last: "Seventh Seal, The".
const ARTICLE_LAST = /^(.+), (The|An?|Le|La|Les|L'|Il|El|Los|Las|Der|Die|Das)( \(.+\))?$/;

/** Put the article of a title back to its front, wherever an answer has a title. */
function readable(name, value) {
  if (name !== "title" || value === null) return value;
  return value.replace(ARTICLE_LAST, (_, rest, article, more = "") => `${article}${article.endsWith("'") ? "" : " "}${rest}${more}`);
}

async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  return new ApiError(
    problem.detail ?? `The service answered ${response.status} ${response.statusText}.`,
    {
      status: response.status,
      code: problem.code ?? "unknown",
      title: problem.title ?? "",
      requestId: problem.request_id ?? response.headers.get("X-Request-ID"),
    },
  );
}

// One question for the key, however many requests find that they need it.
let asking = null;

async function sendWithKey(method, path, options) {
  try {
    return await send(method, path, options);
  } catch (error) {
    if (error.status !== 401) throw error;
    asking ??= askForKey(sessionStorage.getItem(KEY) !== null).finally(() => {
      asking = null;
    });
    const key = await asking;
    if (key === null) throw error;
    sessionStorage.setItem(KEY, key);
    return sendWithKey(method, path, options);
  }
}

/** Return a key under which a request may be repeated and counts once. */
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const api = {
  get: (path, params, signal) => sendWithKey("GET", path, { params, signal }),
  post: (path, body, headers, signal) => sendWithKey("POST", path, { body, headers, signal }),
  put: (path, body) => sendWithKey("PUT", path, { body }),
  patch: (path, body) => sendWithKey("PATCH", path, { body }),
  delete: (path) => sendWithKey("DELETE", path),
};

/** Return a part of a path. */
export const part = (id) => encodeURIComponent(id);
