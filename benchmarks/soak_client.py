"""One client of benchmarks/soak.py: reads and writes for hours, and remembers what was promised."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple, TypeVar

import numpy as np
from http_client import Answer, Client, request

T = TypeVar("T")

# Seconds between two requests of one client, so that a machine of two cores is not only busy.
PAUSE = 0.01

# Seconds after which a write that is refused is sent again, and after which nobody tries any more.
AGAIN, PATIENCE = 0.2, 120.0

K = 20

REFUSED, CREATED, OK, NOT_FOUND = 503, 201, 200, 404


class Told(NamedTuple):
    """One event, which is like no other."""

    user_id: int
    movie_id: int
    kind: str
    rating: float | None
    timestamp: int


class Part(NamedTuple):
    """What one client works on, and no other does."""

    address: str
    seed: int
    users: tuple[int, ...]  # whom the run knows
    first_new: int  # ids of new users count from here
    movies: tuple[int, ...]
    shelved: int  # a movie that it hides and shows
    many: int  # length of a list that is long enough to have it
    watched: frozenset[int]  # movies that tell the versions of the run apart


@dataclass
class Findings:
    """What a client saw."""

    counts: Counter[str] = field(default_factory=Counter)
    acknowledged: list[Told] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)  # version and watched movie
    wrong: list[str] = field(default_factory=list)  # the first of what should not have been

    def note(self, what: str, detail: object) -> None:
        """Count something that should not have been."""
        self.counts[what] += 1
        if len(self.wrong) < 20:
            self.wrong.append(f"{what}: {detail}")


def work(part: Part, stop: Event, found: "Queue[Findings]") -> None:
    """Ask and tell until somebody says stop."""
    with Client(part.address) as client:
        worker = Worker(part, client)
        while not stop.is_set():
            worker.step()
            time.sleep(PAUSE)
    found.put(worker.findings)


class Worker:
    """What one client does.

    Args:
        part: What it works on.
        client: Its connection.
    """

    def __init__(self, part: Part, client: Client) -> None:
        self.findings = Findings()
        self._part, self._client = part, client
        self._rng = np.random.default_rng(part.seed)
        self._new = part.first_new
        self._clock = int(time.time()) - 3600
        self._own: dict[int, set[int]] = {}  # movies of acknowledged events, by user
        steps: dict[Callable[[], None], int] = {
            self._list_of_anybody: 40,
            self._list_of_one_who_did_something: 15,
            self._many_lists: 8,
            self._list_by_history: 5,
            self._rating: 10,
            self._history: 4,
            self._search: 4,
            self._movie: 4,
            self._tell: 5,
            self._hide_and_show: 1,
            self._come_and_be_forgotten: 1,
        }
        self._steps = [step for step, times in steps.items() for _ in range(times)]

    def step(self) -> None:
        """Do one thing."""
        self._one(self._steps)()

    def _one(self, some: Sequence[T]) -> T:
        return some[int(self._rng.integers(len(some)))]

    def _list_of_anybody(self) -> None:
        self._list(self._one(self._part.users))

    def _list_of_one_who_did_something(self) -> None:
        if self._own:
            self._list(self._one(tuple(self._own)))

    def _list(self, user: int) -> None:
        """Ask for a list, which knows what was acknowledged."""
        answer = self._read("GET", f"/v1/users/{user}/recommendations?k={K}")
        if answer is None:
            return
        found = answer.json()
        self._check_version(answer, [found])
        if found["stale"]:
            self.findings.counts["stale"] += 1
            return
        listed = {row["movie_id"] for row in found["movies"]}
        if missed := listed & self._own.get(user, set()):
            self.findings.note("forgot", f"movies {missed} of user {user} are listed again")

    def _many_lists(self) -> None:
        users = [self._one(self._part.users) for _ in range(3)]
        answer = self._read("POST", "/v1/recommendations", {"users": users, "k": K})
        if answer is not None:
            self._check_version(answer, answer.json()["lists"])

    def _list_by_history(self) -> None:
        history = [{"movie_id": self._one(self._part.movies), "rating": 4} for _ in range(5)]
        answer = self._read("POST", "/v1/recommendations", {"history": history, "k": K})
        if answer is not None:
            self._check_version(answer, [answer.json()])

    def _rating(self) -> None:
        user, movie = self._one(self._part.users), self._one(self._part.movies)
        self._read("GET", f"/v1/users/{user}/movies/{movie}")

    def _history(self) -> None:
        self._read("GET", f"/v1/users/{self._one(self._part.users)}/history")

    def _search(self) -> None:
        self._read("GET", f"/v1/movies?q={self._one('abcdefghij')}o")

    def _movie(self) -> None:
        self._read("GET", f"/v1/movies/{self._one(self._part.movies)}")

    def _tell(self) -> None:
        """Tell what a user did; now and then send it again as if no answer had come."""
        new = self._rng.random() < 0.2
        user = self._new_user() if new else self._one(self._part.users)
        events = [self._event(user) for _ in range(int(self._rng.integers(1, 4)))]
        key = f"{self._part.seed}-{self._clock}"
        content = {"events": [event._asdict() for event in events]}
        answer = self._write("POST", "/v1/events", content, key)
        if answer is None:
            return
        self.findings.acknowledged += events
        self._own.setdefault(user, set()).update(event.movie_id for event in events)
        if self._rng.random() < 0.1:
            again = self._write("POST", "/v1/events", content, key)
            if again is not None:
                before, after = answer.json(), again.json()
                if not after["repeated"] or before["first"] != after["first"]:
                    self.findings.note("doubled", f"{before} and then {after}")
        if self._rng.random() < 0.5:
            self._list(user)

    def _hide_and_show(self) -> None:
        """Hide a movie, which no list shows then, and show it again."""
        movie = self._part.shelved
        if self._write("PATCH", f"/v1/movies/{movie}", {"hidden": True}) is not None:
            user = self._one(self._part.users)
            answer = self._read("GET", f"/v1/users/{user}/recommendations?k={self._part.many}")
            if answer is not None and not (found := answer.json())["stale"]:
                self._check_version(answer, [found])
                if movie in {row["movie_id"] for row in found["movies"]}:
                    self.findings.note("forgot", f"movie {movie} is listed and hidden")
        self._write("PATCH", f"/v1/movies/{movie}", {"hidden": False})

    def _come_and_be_forgotten(self) -> None:
        """Be a new user with one event, and be forgotten."""
        user = self._new_user()
        event = self._event(user)._asdict()
        key = f"{self._part.seed}-{self._clock}"
        if self._write("POST", "/v1/events", event, key) is None:
            return
        # Sent again after an answer that did not come, there is nobody to forget any more.
        if self._write("DELETE", f"/v1/users/{user}", fine=(OK, NOT_FOUND)) is not None:
            self.findings.forgotten.append(user)

    def _new_user(self) -> int:
        self._new += 1
        return self._new

    def _event(self, user: int) -> Told:
        self._clock += 1
        kind = self._one(("rating", "rating", "rating", "play", "like"))
        rating = float(self._rng.integers(1, 6)) if kind == "rating" else None
        return Told(user, self._one(self._part.movies), kind, rating, self._clock)

    def _check_version(self, answer: Answer, lists: list[Any]) -> None:
        """Check that an answer is of one version, and remember what it listed."""
        named = {found["run"] for found in lists}
        tag = (answer.header("etag") or "").strip('"').rpartition(".")[0]
        if named != {tag}:
            self.findings.note("mixed", f"lists of {named}, and the answer is of {tag}")
        for found in lists:
            for row in found["movies"]:
                if row["movie_id"] in self._part.watched:
                    self.findings.seen[found["run"], row["movie_id"]] += 1

    def _read(self, method: str, path: str, content: object = None) -> Answer | None:
        """Ask; a connection that broke is made again once, as any HTTP client would."""
        self.findings.counts["reads"] += 1
        sent = request(method, path, content)
        try:
            try:
                answer = self._client.ask(sent)
            except ConnectionError:
                self.findings.counts["reconnected"] += 1
                answer = self._client.ask(sent)
        except OSError as error:
            self.findings.note("failed reads", f"{method} {path}: {error!r}")
            return None
        if answer.status != OK:
            self.findings.note("failed reads", f"{method} {path}: {answer.body.decode()}")
            return None
        return answer

    def _write(
        self,
        method: str,
        path: str,
        content: object = None,
        key: str | None = None,
        fine: tuple[int, ...] = (OK, CREATED),
    ) -> Answer | None:
        """Tell, again and again while it is refused for now; return None if it is for good."""
        headers = {} if key is None else {"idempotency_key": key}
        sent = request(method, path, content, **headers)
        self.findings.counts["writes"] += 1
        until, why = time.monotonic() + PATIENCE, ""
        while time.monotonic() < until:
            try:
                answer = self._client.ask(sent)
            except OSError as error:
                self.findings.counts["reconnected"] += 1
                why = repr(error)
                continue
            if answer.status in fine:
                return answer
            why = answer.body.decode()
            if answer.status != REFUSED:
                break
            self.findings.counts["refused"] += 1
            time.sleep(AGAIN)
        self.findings.note("failed writes", f"{method} {path}: {why}")
        return None
