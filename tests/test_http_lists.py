"""Lists, ratings and histories over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from web import Answer, Service, Value, service_of

from retrieval.serving.filters import Filter
from retrieval.serving.recommender import Recommender

USER = 4
LIST = f"/v1/users/{USER}/recommendations"


@pytest.fixture(scope="module")
def service(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service_of(run, tmp_path_factory.mktemp("log")) as service:
        yield service


def ids(found: Answer) -> list[int]:
    return [row["movie_id"] for row in found["movies"]]


def test_a_list_says_what_it_is_a_list_of(service: Service) -> None:
    found = service.get(LIST, params={"k": 3, "rank_by": "rating"})
    assert found["user_id"] == USER
    assert found["known"] is True
    assert found["rank_by"] == "rating"
    assert found["stale"] is False
    assert found["run"].startswith("v000001-")
    assert [row["rank"] for row in found["movies"]] == [1, 2, 3]
    first = found["movies"][0]
    assert {"title", "year", "genres", "score", "rating", "deviation", "because"} <= first.keys()


def test_a_list_at_a_time_is_that_of_the_recommender(
    service: Service, recommender: Recommender
) -> None:
    at = 2_000_000_000
    found = service.get(LIST, params={"k": 10, "at": at})
    wanted = recommender.topk(USER, 10, at=at)
    assert found["at"] == at
    assert ids(found) == [row.movie.id for row in wanted]
    assert [row["score"] for row in found["movies"]] == pytest.approx([w.score for w in wanted])


@pytest.mark.parametrize(
    "at", ["2033-05-18T03:33:20Z", "2033-05-18T05:33:20+02:00", "2033-05-18 03:33:20"]
)
def test_a_time_may_be_written_out(service: Service, at: str) -> None:
    assert service.get(LIST, params={"at": at})["at"] == 2_000_000_000


def test_conditions_keep_movies_out(service: Service, recommender: Recommender) -> None:
    at, genre = 2_000_000_000, recommender.run.catalogue.movies[0].genres[0]
    denied = ids(service.get(LIST, params={"at": at, "genre": genre}))[:2]
    query: list[tuple[str, Value]] = [
        *[("at", str(at)), ("genre", genre), ("year", "1900-2100"), ("k", "5")],
        *[("deny", str(movie)) for movie in denied],
        ("where", "year>=1900"),
    ]
    found = service.ask("GET", LIST, params=query).json()
    wanted = recommender.topk(
        USER, 5, at=at, filters=Filter(genres=[genre], years=(1900, 2100), deny=denied)
    )
    assert ids(found) == [row.movie.id for row in wanted]


def test_without_a_length_a_list_is_of_20(service: Service) -> None:
    assert len(ids(service.get(LIST))) == 20


def test_a_user_whom_nobody_knows_gets_the_list_of_a_new_user(service: Service) -> None:
    found = service.get("/v1/users/987654/recommendations", params={"k": 5})
    assert found["known"] is False
    assert found["user_id"] == 987_654
    new = service.post("/v1/recommendations", {"history": [], "k": 5}, 200)
    assert ids(new) == ids(found)
    assert new["user_id"] is None


def test_users_whom_nobody_knows_are_named_in_the_list_that_they_share(service: Service) -> None:
    lists = [service.get(f"/v1/users/{user}/recommendations") for user in (987_654, 987_655)]
    assert [found["user_id"] for found in lists] == [987_654, 987_655]
    assert lists[0]["movies"] == lists[1]["movies"]


def test_a_list_that_is_kept_is_sent_as_it_was(service: Service) -> None:
    first, again = (service.ask("GET", LIST) for _ in range(2))
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"]


def test_many_users_get_the_lists_that_each_gets(service: Service) -> None:
    found = service.post("/v1/recommendations", {"users": [USER, 987_654], "k": 4}, 200)["lists"]
    alone = [service.get(f"/v1/users/{user}/recommendations?k=4") for user in (USER, 987_654)]
    assert found == alone


def test_a_person_is_answered_by_history_and_attributes(service: Service) -> None:
    liked = ids(service.get(LIST))[:2]
    history = [{"movie_id": liked[0], "rating": 5}, {"movie_id": liked[1], "rating": 4.0}]
    question = {"history": history, "attributes": {"age": 25, "gender": "F"}, "k": 10}
    found = service.post("/v1/recommendations", question, 200)
    assert not set(liked) & set(ids(found))
    assert found["known"] is False


def test_reasons_come_where_they_are_asked_for(service: Service) -> None:
    history = service.get(f"/v1/users/{USER}/history?limit=1000")["events"]
    seen = {event["movie_id"] for event in history}
    found = service.get(LIST, params={"explain": "true", "k": 5})
    reasons = [reason for row in found["movies"] for reason in row["because"]]
    assert reasons
    assert all(reason["movie_id"] in seen and reason["effect"] > 0 for reason in reasons)
    assert not any(row["because"] for row in service.get(LIST)["movies"])


def test_the_rating_of_a_movie_is_the_one_that_lists_show(service: Service) -> None:
    for row in service.get(LIST, params={"k": 3})["movies"]:
        found = service.get(f"/v1/users/{USER}/movies/{row['movie_id']}")
        assert found["rating"] == pytest.approx(row["rating"])
        assert found["deviation"] == pytest.approx(row["deviation"])
        assert found["movie"]["title"] == row["title"]


def test_an_explanation_adds_up_to_the_rating(service: Service) -> None:
    movie = ids(service.get(LIST))[0]
    found = service.get(f"/v1/users/{USER}/movies/{movie}", params={"explain": "true"})
    why = found["explanation"]
    effects = sum(row["effect"] for row in why["influences"])
    assert why["by"] == "rating"
    assert why["answer"] == pytest.approx(found["rating"])
    assert why["baseline"] + effects == pytest.approx(why["answer"])


def test_a_history_comes_newest_first(service: Service) -> None:
    found = service.get(f"/v1/users/{USER}/history", params={"limit": 7})
    times = [event["timestamp"] for event in found["events"]]
    assert len(times) == 7
    assert times == sorted(times, reverse=True)
    assert {event["kind"] for event in found["events"]} == {"rating"}
    nobody = service.get("/v1/users/987654/history")
    assert (nobody["known"], nobody["events"]) == (False, [])


def test_who_has_the_answer_already_is_told_so(service: Service) -> None:
    path = f"{LIST}?at=2000000000"
    answer = service.ask("GET", path)
    tag = answer.headers["etag"]
    assert tag.startswith(f'"{answer.json()["run"]}.')
    again = service.ask("GET", path, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = service.ask("GET", f"{path}&k=3", headers={"if-none-match": tag})
    assert other.status_code == 200


def test_an_answer_says_where_its_time_went(service: Service) -> None:
    address = f"{LIST}?include_seen=true"  # such a list is not kept
    headers = service.ask("GET", address, headers={"x-request-id": "mine-1"}).headers
    assert headers["x-request-id"] == "mine-1"
    assert "total;dur=" in headers["server-timing"]
    assert "search;dur=" in headers["server-timing"]


@pytest.mark.parametrize("name", ["with blanks", "x" * 65, "a\tb"])
def test_a_name_that_could_break_a_log_is_not_taken(service: Service, name: str) -> None:
    headers = service.ask("GET", LIST, headers={"x-request-id": name}).headers
    assert headers["x-request-id"] != name


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("k=0", "k '0'"),
        ("k=1001", "k is 1001"),
        ("k=many", "k 'many'"),
        ("k=5&k=6", "comes twice"),
        ("rank_bi=rating", "did you mean rank_by"),
        ("rank_by=fame", "rank_by 'fame'"),
        ("at=-1", "at '-1'"),
        ("at=99999999999", "at '99999999999'"),
        ("at=yesterday", "give whole seconds since 1970, or a time such as 2026-"),
        ("at=0001-01-01T00:00%2B14:00", "at '0001-01-01T00:00+14:00'"),
        ("when=later", "when 'later'"),
        ("diversity=nan", "diversity 'nan'"),
        ("diversity=2", "diversity '2'"),
        ("explain=perhaps", "explain 'perhaps'"),
        ("genre=Westurn", "genre"),
        ("year=1999-1990", "end before they begin"),
        ("where=nothing=1", "nothing"),
        ("where=%00", "where"),
        ("deny=%E2%80%AE1", "deny"),
        ("deny=", "deny"),
        ("%ff=1", "malformed parameters"),
        ("&".join(["deny=1"] * 501), "at most 500"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(service: Service, query: str, said: str) -> None:
    answer = service.ask("GET", f"{LIST}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"users": [1] * 300}, "there are 300 users; ask for at most 256"),
        ({"users": [1] * 10_001}, "at most 10000 items"),
        ({"users": [1] * 200, "k": 101}, "200 lists of 101 movies have 20,200 together"),
        ({"users": [1] * 17, "explain": True}, "there are 17 users; with explain or diversity"),
        ({"users": [1] * 17, "diversity": 0.5}, "at most 16"),
        ({"history": [{}] * 20_000}, "history.0.movie_id: this field is missing"),
    ],
)
def test_a_question_that_asks_for_too_much_is_refused(
    service: Service, question: Answer, said: str
) -> None:
    answer = service.ask("POST", "/v1/recommendations", json=question)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert "more" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"users": []},
        {"users": [1], "history": []},
        {"users": [1.5]},
        {"users": [True]},
        {"users": [None]},
        {"users": list(range(300))},
        {"history": [{"movie_id": 1, "rating": "5"}]},
        {"history": [{"movie_id": 1, "rating": 99}]},
        {"history": [{"movie_id": 10**30}]},
        {"history": [{"movie_id": 1, "rating": 5}] * 3000},
        {"history": [], "k": "5"},
        {"history": [], "k": 5.5},
        {"history": [], "explain": 1},
        {"history": [], "unknown": 1},
        {"attributes": {"age": "old\x1b[31m"}},
        {"attributes": {"age": [1]}},
        [],
        "users",
    ],
)
def test_a_body_that_makes_no_sense_is_refused(service: Service, question: object) -> None:
    refused = service.refused("POST", "/v1/recommendations", json=question)
    assert refused == (422, "invalid_request")
