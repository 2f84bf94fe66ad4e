"""Metrics of a service for Prometheus, of one process or of several workers together.

Several workers share a folder, which the environment names as `PROMETHEUS_MULTIPROC_DIR`; whichever
of them is asked answers for all.
"""

import os
import re
from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from retrieval.data.vocabulary import Id
from retrieval.service.grading import DAY, HOUR, Grading, Sums

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# Seconds; quantiles are read from between two of them.
REQUEST_BUCKETS = (
    *(step * 10**power for power in range(-4, 1) for step in (1, 1.5, 2, 3, 5, 7)),
    10.0,
)
STAGE_BUCKETS = (*(step * 10**power for power in range(-5, 0) for step in (1, 2, 5)), 1.0)

# Looks at the number of answers that are kept, and seconds between two of them: a minute.
LOOKS, BETWEEN_LOOKS = 7, 10.0

# Typed here, as the library leaves them untyped.
COLLECT: Callable[[CollectorRegistry], object] = MultiProcessCollector
FORGET: Callable[[int, str], None] = mark_process_dead

WINDOWS = {"hour": HOUR, "day": DAY}

LIVE_FILE = re.compile(r"gauge_live[a-z]*_([0-9]+)\.db")


class Pace:
    """How many answers a second there were in the last minute or so, one look after another."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque(maxlen=LOOKS)

    def rate(self, now: float, count: int) -> float:
        """Return answers a second.

        Args:
            now: Time in seconds.
            count: Answers so far.
        """
        if not self._looks or abs(now - self._looks[-1][0]) >= BETWEEN_LOOKS:
            self._looks.append((now, count))
        first, before = self._looks[0]
        return (count - before) / (now - first) if now > first else 0.0


class Metrics:
    """What is counted.

    Args:
        grading: Measures of this process' predictions.
        clock: Function that gives the time in seconds.
    """

    def __init__(self, grading: Grading, clock: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._grading = grading
        self._clock = clock
        self._answered = 0
        self._pace = Pace()
        self._covered: dict[Id, float] = {}  # when a movie was listed last
        self._requests = Counter(
            "rec_requests", "Answers.", ("route", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "rec_request_seconds",
            "Seconds until an answer.",
            ("route",),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "rec_stage_seconds",
            "Seconds of a stage of a list.",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._events = Counter("rec_events", "Events taken in.", ("kind",), registry=self.registry)
        self._cold = Counter(
            "rec_cold_users", "Lists for users that are not known.", registry=self.registry
        )
        lists = Counter(
            "rec_lists", "Lists, by how much is in them.", ("length",), registry=self.registry
        )
        self._lists = {word: lists.labels(word) for word in ("full", "short", "empty")}
        self._coverage = Gauge(
            "rec_listed_movies",
            "Movies that a worker has listed in the last hour.",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self._created = Gauge(
            "rec_run_created_timestamp_seconds",
            "When the run that answers was made.",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self._stale = Gauge(
            "rec_log_stale",
            "Whether the log cannot be asked what it has by now.",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self._waiting = Gauge(
            "rec_waiting_questions",
            "Questions that wait for a thread.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._graded = Gauge(
            "rec_grading",
            "Sums over incoming events that were predicted first.",
            ("window", "sum"),
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self._rate = Gauge(
            "rec_requests_per_second",
            "Answers a second in the last minute.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        # Finding a labelled child again and again would take longer than counting.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._known_stages: dict[str, Histogram] = {}

    def answered(
        self, route: str, method: str, status: int, seconds: float, stages: Mapping[str, float]
    ) -> None:
        """Count an answer.

        Args:
            route: Template of the path.
            method: Method of the request.
            status: Status of the answer.
            seconds: How long it took.
            stages: Seconds by stage.
        """
        key = (route, method, status)
        known = self._known.get(key)
        if known is None:
            known = self._requests.labels(route, method, str(status)), self._seconds.labels(route)
            self._known[key] = known
        self._answered += 1
        known[0].inc()
        known[1].observe(seconds)
        for stage, spent in stages.items():
            timed = self._known_stages.get(stage)
            if timed is None:
                timed = self._known_stages[stage] = self._stages.labels(stage)
            timed.observe(spent)

    def listed(self, movies: Collection[Id], wanted: int, *, known: bool) -> None:
        """Count a list.

        Args:
            movies: Ids of the movies in it.
            wanted: Movies that were asked for.
            known: Whether the user is known.
        """
        self._lists["full" if len(movies) >= wanted else "short" if movies else "empty"].inc()
        if not known:
            self._cold.inc()
        self._covered.update(dict.fromkeys(movies, self._clock()))

    def took_in(self, kinds: Iterable[str]) -> None:
        """Count events, by their kinds."""
        for kind, count in Tally(kinds).items():
            self._events.labels(kind).inc(count)

    def refresh(self, *, created: float, waiting: int, stale: bool) -> None:
        """Say again what changes by itself.

        Args:
            created: When the run that answers was made, in seconds.
            waiting: Questions that wait for a thread.
            stale: Whether the log cannot be asked what it has by now.
        """
        self._stale.set(stale)
        self._created.set(created)
        self._waiting.set(waiting)
        now = self._clock()
        covered = self._covered.copy()  # lists are counted meanwhile
        self._covered = {movie: at for movie, at in covered.items() if at > now - HOUR}
        self._coverage.set(len(self._covered))
        self._rate.set(self._pace.rate(now, self._answered))
        for window, seconds in WINDOWS.items():
            for name, value in self._grading.over(seconds)._asdict().items():
                self._graded.labels(window, name).set(value)

    def exposition(self) -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(self._all())

    def stats(self) -> dict[str, object]:
        """Return what an operator looks at, as JSON has it."""
        found = {metric.name: metric for metric in self._all().collect()}
        counts: Tally[str] = Tally()
        errors = 0.0
        for labels, value in _totals(found.get("rec_requests")):
            counts[labels["route"]] += int(value)
            errors += value if labels["status"] >= "500" else 0
        timed = _histograms(found.get("rec_request_seconds"), "route")
        lists = {labels["length"]: value for labels, value in _totals(found.get("rec_lists"))}
        return {
            "requests": sum(counts.values()),
            "requests_per_second": _sum(found.get("rec_requests_per_second")),
            "by_route": [
                {
                    "route": route,
                    "count": count,
                    "p50_ms": _milliseconds(timed.get(route), 0.5),
                    "p99_ms": _milliseconds(timed.get(route), 0.99),
                }
                for route, count in counts.most_common()
            ],
            "stages": [
                {"stage": stage, "p50_ms": _milliseconds(buckets, 0.5)}
                for stage, buckets in _histograms(found.get("rec_stage_seconds"), "stage").items()
            ],
            "events": {
                labels["kind"]: int(value) for labels, value in _totals(found.get("rec_events"))
            },
            "errors": int(errors),
            "cold_users": int(sum(value for _, value in _totals(found.get("rec_cold_users")))),
            "empty_lists": int(lists.get("empty", 0)),
            "short_lists": int(lists.get("short", 0)),
            "coverage": int(_sum(found.get("rec_listed_movies"))),
            "grading": _grades(found.get("rec_grading")),
        }

    def _all(self) -> CollectorRegistry:
        """Return the metrics of all workers."""
        folder = os.environ.get(FOLDER)
        if folder is None:
            return self.registry
        _forget_dead(Path(folder))
        together = CollectorRegistry()
        COLLECT(together)
        return together


def _forget_dead(folder: Path) -> None:
    """Leave out what workers that have died said of themselves as they lived."""
    for path in folder.glob("gauge_live*.db"):
        found = LIVE_FILE.fullmatch(path.name)
        if found is None:
            continue
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            with suppress(FileNotFoundError):  # another worker was faster
                FORGET(int(found[1]), str(folder))


def _values(metric: Metric | None) -> list[tuple[dict[str, str], float]]:
    return [] if metric is None else [(each.labels, each.value) for each in metric.samples]


def _sum(metric: Metric | None) -> float:
    return sum(value for _, value in _values(metric))


def _totals(metric: Metric | None) -> list[tuple[dict[str, str], float]]:
    """Return the labels and values of a counter."""
    if metric is None:
        return []
    return [(each.labels, each.value) for each in metric.samples if each.name.endswith("_total")]


def _histograms(metric: Metric | None, label: str) -> dict[str, list[tuple[float, float]]]:
    """Return upper bounds and how many lie below each, ascending, by the value of a label."""
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in [] if metric is None else metric.samples:
        if each.name.endswith("_bucket"):
            found[each.labels[label]].append((float(each.labels["le"]), each.value))
    return {name: sorted(buckets) for name, buckets in found.items()}


def _milliseconds(buckets: list[tuple[float, float]] | None, share: float) -> float | None:
    """Return a quantile, as if values were spread evenly between two bounds."""
    if not buckets or not buckets[-1][1]:
        return None
    wanted = share * buckets[-1][1]
    low, below = 0.0, 0.0
    for high, count in buckets:
        if count >= wanted:
            if high == float("inf"):
                return low * 1e3
            inside = (wanted - below) / (count - below) if count > below else 1.0
            return (low + inside * (high - low)) * 1e3
        low, below = high, count
    return low * 1e3


def _grades(metric: Metric | None) -> dict[str, dict[str, float | None]]:
    sums: dict[str, dict[str, float]] = {window: {} for window in WINDOWS}
    for labels, value in _values(metric):
        sums[labels["window"]][labels["sum"]] = value
    return {window: Sums(**each).grades() for window, each in sums.items()}
