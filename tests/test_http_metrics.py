"""What is counted, and how the service grades itself."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import values as kinds
from prometheus_client.parser import text_string_to_metric_families
from web import Service, service_of

from retrieval.service.grading import DAY, HOUR, Foreseen, Grading
from retrieval.service.metrics import Metrics, Pace

START = 1_790_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service(run: Path, tmp_path: Path) -> Iterator[Service]:
    with service_of(run, tmp_path) as service:
        yield service


def values(service: Service) -> dict[tuple[str, ...], float]:
    text = service.ask("GET", "/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_answers_are_counted_by_route(service: Service) -> None:
    route = "/v1/users/{user_id}/recommendations"
    for user in (1, 2, 3):
        service.get(f"/v1/users/{user}/recommendations")
    service.ask("GET", "/v1/users/1/recommendations?k=0")
    service.ask("GET", "/v1/unknown-" + "x" * 50)
    service.ask("BREW", "/")
    found = values(service)
    assert found["rec_requests_total", "GET", route, "200"] == 3
    assert found["rec_requests_total", "GET", route, "422"] == 1
    assert found["rec_requests_total", "GET", "other", "404"] == 1
    assert found["rec_request_seconds_count", route] == 4
    assert found["rec_stage_seconds_count", "history"] == 3
    assert not any("unknown" in str(key) or "BREW" in str(key) for key in found)


def test_lists_are_counted_by_what_is_in_them(service: Service) -> None:
    movies = len(service.app.state.context.engine.view().catalogue)
    service.get("/v1/users/1/recommendations?k=5")
    service.get(f"/v1/users/1/recommendations?k={movies}")  # those seen are missing
    service.get("/v1/users/987654/recommendations?k=5")
    found = values(service)
    assert found["rec_lists_total", "full"] == 2
    assert found["rec_lists_total", "short"] == 1
    assert found["rec_cold_users_total",] == 1
    assert 100 < found["rec_listed_movies",] <= movies


def test_stats_are_what_the_metrics_say(service: Service) -> None:
    for _ in range(20):
        service.get("/v1/users/1/recommendations")
    found = service.get("/v1/stats")
    (route,) = [row for row in found["by_route"] if "recommendations" in row["route"]]
    assert route["count"] == 20
    assert 0 < route["p50_ms"] <= route["p99_ms"]
    assert found["requests"] == 20
    assert found["errors"] == 0
    assert {"history", "routing"} <= {row["stage"] for row in found["stages"]}
    assert found["coverage"] == 20
    assert found["grading"]["hour"]["rmse"] is None
    assert found["uptime"] > 0


def test_workers_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    made: Callable[[Callable[[], int]], object] = kinds.MultiProcessValue
    said = []
    for pid in (os.getpid(), os.getppid()):
        kind = made(partial(int, pid))
        monkeypatch.setattr("prometheus_client.metrics.values.ValueClass", kind)
        grading = Grading(Clock())
        grading.add(Foreseen(rating=4, predicted=3, deviation=2))
        metrics = Metrics(grading, Clock())
        metrics.answered("/v1/x", "GET", 200, 0.01, {"search": 0.001})
        metrics.took_in(["rating", "play"])
        metrics.listed([pid], 1, known=False)
        metrics.refresh(created=START, waiting=1, stale=True)
        said.append(metrics)
    for metrics in said:
        found = metrics.stats()
        assert found["requests"] == 2
        assert found["events"] == {"rating": 2, "play": 2}
        assert found["cold_users"] == 2
        assert found["coverage"] == 1
        grades = found["grading"]
        assert isinstance(grades, dict)
        assert grades["hour"]["ratings"] == 2
        assert grades["hour"]["rmse"] == 1
    (tmp_path / "gauge_livesum_999999999.db").write_bytes(b"")
    said[0].exposition()
    assert not (tmp_path / "gauge_livesum_999999999.db").exists()  # of a worker that is no more


def test_grades_are_those_of_their_definition() -> None:
    clock = Clock()
    grading = Grading(clock)
    for rating, predicted, deviation in ((5, 4, 1.0), (3, 4.5, 1.0), (1, 4, 1.0), (4, 4, None)):
        grading.add(Foreseen(rating=rating, predicted=predicted, deviation=deviation))
    for hit in (True, True, False, False, False):
        grading.add(Foreseen(hit=hit))
    found = grading.over(HOUR).grades()
    assert found == {
        "ratings": 4,
        "rmse": pytest.approx(((1 + 2.25 + 9 + 0) / 4) ** 0.5),
        "within_one_deviation": pytest.approx(1 / 3),
        "within_two_deviations": pytest.approx(2 / 3),
        "plays": 5,
        "hit_at_20": pytest.approx(2 / 5),
    }


def test_grades_are_of_the_last_hour_and_day() -> None:
    clock = Clock()
    grading = Grading(clock)
    grading.add(Foreseen(hit=True))
    clock.now += HOUR / 2
    grading.add(Foreseen(hit=True))
    assert (grading.over(HOUR).plays, grading.over(DAY).plays) == (2, 2)
    clock.now += HOUR * 0.6
    assert (grading.over(HOUR).plays, grading.over(DAY).plays) == (1, 2)
    clock.now += HOUR
    assert (grading.over(HOUR).plays, grading.over(DAY).plays) == (0, 2)
    clock.now += DAY
    assert (grading.over(HOUR).plays, grading.over(DAY).plays) == (0, 0)


def test_a_clock_that_jumps_loses_no_more_than_its_minutes() -> None:
    clock = Clock()
    grading = Grading(clock)
    grading.add(Foreseen(hit=True))
    clock.now -= 10 * DAY
    grading.add(Foreseen(hit=True))
    assert grading.over(HOUR).plays == 2
    clock.now = START + 1000 * DAY
    assert grading.over(DAY).plays == 0
    grading.add(Foreseen(hit=True))
    assert grading.over(HOUR).plays == 1


def test_pace_is_that_of_a_minute_however_often_one_looks() -> None:
    pace = Pace()
    for second in range(600):
        rate = pace.rate(second, 10 * second)
    assert rate == pytest.approx(10)
    for second in range(600, 630):  # nobody asks any more
        rate = pace.rate(second, 5990)
    assert rate == pytest.approx(5, abs=1)


def test_pace_is_that_of_the_last_looks() -> None:
    pace = Pace()
    assert pace.rate(0, 0) == 0
    assert pace.rate(10, 100) == 10
    for look in range(2, 20):
        rate = pace.rate(10 * look, 100 + 20 * (look - 1))
    assert rate == pytest.approx(2)
    assert pace.rate(10 * 19, 100) <= 2  # the clock has stood still
