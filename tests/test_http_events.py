"""Events over HTTP: they are kept, count at once, and are forgotten with their user."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web import Service, service_of

NOW = int(time.time())
NEW = 555_001


@pytest.fixture(scope="module")
def steady(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that no test changes."""
    with service_of(run, tmp_path_factory.mktemp("log"), most_events=50) as service:
        yield service


@pytest.fixture
def service(run: Path, tmp_path: Path) -> Iterator[Service]:
    with service_of(run, tmp_path, most_events=50) as service:
        yield service


def listed(service: Service, user: int) -> list[int]:
    found = service.get(f"/v1/users/{user}/recommendations?k=10")
    return [row["movie_id"] for row in found["movies"]]


def rating(movie: int, user: int = NEW, **further: object) -> dict[str, Any]:
    return {"user_id": user, "movie_id": movie, "rating": 5, "timestamp": NOW, **further}


def test_the_very_next_answer_knows_an_event(service: Service) -> None:
    first = listed(service, NEW)
    kept = service.post("/v1/events", rating(first[0]))
    assert kept == {"accepted": 1, "first": 1, "last": 1, "repeated": False}
    found = service.get(f"/v1/users/{NEW}/recommendations?k=10")
    assert found["known"] is True
    assert first[0] not in [row["movie_id"] for row in found["movies"]]
    events = service.get(f"/v1/users/{NEW}/history")["events"]
    assert [(event["movie_id"], event["rating"]) for event in events] == [(first[0], 5.0)]


def test_several_events_count_together(service: Service) -> None:
    movies = listed(service, NEW)
    events = [
        rating(movies[0]),
        {"user_id": str(NEW), "movie_id": str(movies[1]), "kind": "play"},
        {"user_id": NEW, "movie_id": movies[2], "kind": "like"},
    ]
    kept = service.post("/v1/events", {"events": events})
    assert (kept["accepted"], kept["first"], kept["last"]) == (3, 1, 3)
    history = service.get(f"/v1/users/{NEW}/history")["events"]
    assert {event["kind"] for event in history} == {"rating", "play", "like"}


def test_one_event_that_cannot_be_keeps_out_all(service: Service) -> None:
    movies = listed(service, NEW)
    body = {"events": [rating(movies[0]), rating(10**9)]}
    assert service.refused("POST", "/v1/events", json=body) == (422, "invalid_request")
    assert service.get(f"/v1/users/{NEW}/history")["events"] == []


def test_sent_again_with_its_key_an_event_counts_once(service: Service) -> None:
    movie = listed(service, NEW)[0]
    first, again = (
        service.post("/v1/events", rating(movie), idempotency_key="once") for _ in range(2)
    )
    assert again == {**first, "repeated": True}
    assert len(service.get(f"/v1/users/{NEW}/history")["events"]) == 1
    headers = {"idempotency-key": "once"}
    other = service.refused("POST", "/v1/events", json=rating(movie, rating=1), headers=headers)
    assert other == (409, "idempotency_key_conflict")


def test_an_event_that_was_kept_is_not_judged_again(service: Service) -> None:
    movie = listed(service, NEW)[0]
    first = service.post("/v1/events", rating(movie), idempotency_key="once")
    service.ask("DELETE", f"/v1/movies/{movie}")
    again = service.post("/v1/events", rating(movie), idempotency_key="once")
    assert again == {**first, "repeated": True}
    assert service.refused("POST", "/v1/events", json=rating(movie)) == (422, "invalid_request")


def test_with_a_key_an_event_needs_its_time(steady: Service) -> None:
    event = {"user_id": NEW, "movie_id": 1, "kind": "play"}
    headers = {"idempotency-key": "again"}
    refused = steady.refused("POST", "/v1/events", json=event, headers=headers)
    assert refused == (422, "invalid_request")


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_has_bounds(steady: Service, key: str) -> None:
    headers = {"idempotency-key": key}
    refused = steady.refused("POST", "/v1/events", json=rating(1), headers=headers)
    assert refused == (422, "invalid_request")


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"events": []},
        {"events": {}},
        {"events": [{}] * 51},
        rating(1, rating=None),
        rating(1, rating="5"),
        rating(1, rating=17),
        rating(1, rating=True),
        rating(1, kind="play"),
        rating(1, kind="love", rating=None),
        rating(1, kind=1),
        rating(1, rating=3.7),
        rating(1, timestamp=-1),
        rating(1, timestamp=0),
        rating(1, timestamp=NOW + 10 * 86_400),
        rating(1, timestamp=1.5),
        rating(1, timestamp="2000"),
        rating(1, timestamp="yesterday"),
        rating(1, timestamp="1931-11-28T20:15:00Z"),
        rating(1, more=1),
        rating(1) | {"user_id": "a\x00b"},
        rating(1) | {"user_id": ""},
        rating(1) | {"user_id": "x" * 201},
        rating(1) | {"user_id": "nobody"},  # ids of this run are numbers
        rating(1) | {"user_id": 2**63},
        rating(1) | {"movie_id": "\u202eeipoT"},
        rating(1) | {"movie_id": [1]},
    ],
)
def test_an_event_that_cannot_be_is_refused(steady: Service, event: object) -> None:
    assert steady.refused("POST", "/v1/events", json=event) == (422, "invalid_request")


def test_an_event_may_say_its_time_in_words(service: Service) -> None:
    user = 2_000_123
    movie = listed(service, user)[0]
    told = rating(movie, timestamp="2025-11-28T20:15:00Z") | {"user_id": user}
    service.post("/v1/events", told)
    (event,) = service.get(f"/v1/users/{user}/history")["events"]
    assert event["timestamp"] == 1_764_360_900


def test_a_user_is_forgotten(service: Service) -> None:
    movies = listed(service, NEW)
    service.post("/v1/events", {"events": [rating(movie) for movie in movies[:3]]})
    assert len(service.get("/v1/stats")["recent"]) == 3
    answer = service.ask("DELETE", f"/v1/users/{NEW}")
    assert service.get("/v1/stats")["recent"] == []
    service.post("/v1/events", rating(movies[4]))  # comes again, with nothing of before
    recent = service.get("/v1/stats")["recent"]
    assert [each["movie_id"] for each in recent] == [movies[4]]
    service.ask("DELETE", f"/v1/users/{NEW}")
    assert answer.json() == {
        "user_id": NEW,
        "forgotten_events": 3,
        "events_in_run": 0,
    }
    assert service.get(f"/v1/users/{NEW}/history") == {
        "user_id": NEW,
        "known": False,
        "events": [],
    }
    assert listed(service, NEW) == movies
    assert service.refused("DELETE", f"/v1/users/{NEW}") == (404, "unknown_user")


def test_what_was_kept_is_there_after_a_restart(run: Path, tmp_path: Path) -> None:
    with service_of(run, tmp_path) as service:
        movie = listed(service, NEW)[0]
        service.post("/v1/events", rating(movie))
        before = listed(service, NEW)
    with service_of(run, tmp_path) as service:
        assert listed(service, NEW) == before


def test_operators_see_what_came_and_how_well_it_was_foreseen(service: Service) -> None:
    movies = listed(service, NEW)
    service.post("/v1/events", rating(movies[1], rating=4))
    service.post("/v1/events", {"user_id": NEW, "movie_id": movies[0], "kind": "play"})
    old = rating(movies[2], timestamp=NOW - 10 * 86_400)
    service.post("/v1/events", old)
    found = service.get("/v1/stats")
    assert found["events"] == {"rating": 2, "play": 1}
    assert found["cold_users"] == 1
    assert [each["kind"] for each in found["recent"]] == ["rating", "play", "rating"]
    assert found["recent"][1]["movie_id"] == movies[0]
    hour = found["grading"]["hour"]
    assert (hour["ratings"], hour["plays"]) == (1, 1)  # what happened long ago is no prediction
    assert 0 < hour["rmse"] < 4
    assert hour == found["grading"]["day"]


def test_a_rating_is_predicted_before_it_counts(service: Service) -> None:
    movie = listed(service, NEW)[0]
    wanted = service.get(f"/v1/users/{NEW}/movies/{movie}")["rating"]
    service.post("/v1/events", rating(movie, rating=1))
    found = service.get("/v1/stats")["grading"]["hour"]
    assert found["rmse"] == pytest.approx(wanted - 1)


def test_an_event_that_is_sent_again_is_not_graded_again(service: Service) -> None:
    movie = listed(service, NEW)[0]
    for _ in range(2):
        service.post("/v1/events", rating(movie), idempotency_key="once")
    assert service.get("/v1/stats")["grading"]["hour"]["ratings"] == 1
