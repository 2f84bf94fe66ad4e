// What somebody told the service: their events, and who they become with the first one.

import { api, idempotencyKey } from "./api.js";

// Milliseconds before an event is sent again.
const PAUSE = 1000;

/** What is said of an event that the service does not have. */
export const NOT_SAVED = "Not saved.";

/** Return the movies that a new user chose as events, which count as loved. */
export function startingHistory({ liked }, { scale }) {
  const now = Math.floor(Date.now() / 1000);
  return liked.map((id, place) => ({
    movie_id: id,
    rating: scale.ratings ? scale.highest : null,
    timestamp: now - liked.length + place,
  }));
}

/** Return an id that nobody has: of digits only, since it has to fit ids that are numbers. */
function newUserId() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return 100_000_000_000 + ((high * 2 ** 20 + (low >>> 12)) % 900_000_000_000);
}

/** Send an event, after those that the service does not have yet; all of them or none count. */
function sendEvents(user, earlier, { movie_id, kind, rating, timestamp }) {
  const events = [
    ...earlier.map((event) => ({ ...event, kind: event.rating === null ? "like" : "rating" })),
    { movie_id, kind, rating, timestamp },
  ];
  const body = { events: events.map((event) => ({ user_id: user, ...event })) };
  const headers = { "Idempotency-Key": idempotencyKey() };
  const send = () => api.post("v1/events", body, headers);
  return send().catch((error) => {
    if (error.status !== 0 && error.status !== 503) throw error;
    // Whether the first try arrived or not: under the same key it counts once.
    return new Promise((resolve) => setTimeout(resolve, PAUSE)).then(send);
  });
}

/** Send an event as somebody, who is a user of their own from the first one on; return their id. */
export async function sendAs(somebody, service, event) {
  somebody.id ??= somebody.user ?? String(newUserId());
  const earlier = somebody.user || somebody.told ? [] : startingHistory(somebody, service);
  await sendEvents(somebody.id, earlier, event);
  somebody.told = true;
  return somebody.id;
}
