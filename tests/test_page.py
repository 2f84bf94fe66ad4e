"""The page in a browser, on the service of a small run."""

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Response,
    Route,
    expect,
    sync_playwright,
)

from retrieval.service.http.app import create_app
from retrieval.service.settings import ServiceSettings

PHONE, DESKTOP = 360, 1280

# Nobody else's events may change what a test looks at, so that each test has a user.
READER = 42

MOVIE = 5
LOVED = (4, 5, 7)

# Lists are short here: what is wrong with a card is wrong with each.
VIEWS = {
    "start": "",
    "list": f"user/{READER}?genre=Western",
    "new user": f"new?liked={','.join(map(str, LOVED))}&genre=Western",
    "movie": f"movie/{MOVIE}?user={READER}",
    "search": "search?q=rivr",
    "quality": "quality",
    "live": "live",
    "catalogue": "catalogue",
    "nowhere": "nowhere",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("needs chromium")
    with sync_playwright() as player:
        opened = player.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port of this machine; give its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def own_run(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which may be told events."""
    return Path(shutil.copytree(run, tmp_path_factory.mktemp("page") / "run"))


@pytest.fixture(scope="module")
def address(own_run: Path) -> Iterator[str]:
    with serving(create_app(own_run)) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page, which may log no error and miss no file."""
    context = browser.new_context(viewport={"width": DESKTOP, "height": 900}, locale="en-GB")
    found, wrong = context.new_page(), []

    def on_console(message: ConsoleMessage) -> None:
        # The browser logs each refusal of the service, which tests ask for.
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    def on_response(response: Response) -> None:
        if response.status >= 400 and "/v1/" not in response.url:
            wrong.append(f"{response.status} {response.url}")

    found.on("console", on_console)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on("response", on_response)
    found.set_default_timeout(10_000)
    yield found
    context.close()
    assert wrong == []


def told(address: str, path: str, **parameters: str | int) -> dict[str, Any]:
    """Return what the service says to a program."""
    answer = httpx.get(address + path, params=parameters).raise_for_status().json()
    assert isinstance(answer, dict)
    return answer


def listed(address: str, user: int | str, **options: str | int) -> list[str]:
    answer = told(address, f"v1/users/{user}/recommendations", k=20, **options)
    return [movie["title"] for movie in answer["movies"]]


def cards(page: Page) -> Locator:
    return page.locator(".cards > .card:not(.ghost):not(.skeleton)")


def titles(page: Page) -> list[str]:
    return cards(page).locator(".title a").all_text_contents()


def status(page: Page) -> Locator:
    return page.locator(".list-main .status")


def open_list(page: Page, address: str, user: int) -> list[str]:
    """Open the list of a user; return its titles."""
    page.goto(f"{address}#/user/{user}")
    expect(cards(page)).to_have_count(20)
    return titles(page)


def rate(page: Page, title: str, rating: int) -> None:
    page.get_by_role("button", name=f"Rate {title} {rating} of 5", exact=True).first.click()


def test_a_known_user_finds_the_list_that_the_service_gives(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("User id").fill(str(READER))
    page.get_by_role("button", name="Show my list").first.click()
    expect(page.get_by_role("heading", name=f"For user {READER}")).to_be_visible()
    expect(cards(page)).to_have_count(20)
    assert titles(page) == listed(address, READER)
    first = cards(page).first
    expect(first).to_contain_text(re.compile(r"Predicted rating \d\.\d ± \d\.\d"))
    expect(first).to_contain_text(re.compile("(Because|Although) you rated"))
    expect(page.get_by_role("complementary", name="History")).to_contain_text("rated")
    page.reload()
    expect(cards(page)).to_have_count(20)
    assert titles(page) == listed(address, READER)


def test_a_longer_list_goes_on_where_the_first_one_ended(page: Page, address: str) -> None:
    first = open_list(page, address, READER)
    page.get_by_role("button", name="Show 20 more").click()
    expect(cards(page)).to_have_count(40)
    assert titles(page)[:20] == first
    expect(cards(page).nth(20)).to_be_focused()


def test_somebody_unknown_gets_the_list_of_a_new_user(page: Page, address: str) -> None:
    open_list(page, address, 987_654)
    expect(page.locator(".about")).to_contain_text("Nothing is known of this user yet")
    expect(page.get_by_role("complementary", name="History")).to_contain_text("Nothing yet")


def test_a_rating_leaves_the_list_and_is_in_the_history_at_once(page: Page, address: str) -> None:
    user = 43
    title = open_list(page, address, user)[2]
    rate(page, title, 5)
    expect(page.locator(".timeline > li").first).to_contain_text(title)
    expect(status(page)).to_contain_text(f"You rated {title} 5.")
    newest = told(address, f"v1/users/{user}/history")["events"][0]
    assert (newest["title"], newest["rating"]) == (title, 5)
    assert title not in titles(page)
    assert titles(page) == listed(address, user)


def test_a_rating_can_be_changed_where_it_stands(page: Page, address: str) -> None:
    user = 44
    open_list(page, address, user)
    event = page.locator(".timeline > li").first
    title = event.locator(".event a").inner_text()
    event.get_by_role("button", name=f"change {title}").click()
    event.get_by_role("button", name=f"Rate {title} 3 of 5").click()
    expect(page.locator(".timeline > li").first.locator("a")).to_be_focused()
    expect(status(page)).to_contain_text(f"You rated {title} 3.")
    newest = told(address, f"v1/users/{user}/history")["events"][0]
    assert (newest["title"], newest["rating"]) == (title, 3)


def test_a_movie_can_be_watched_without_a_rating(page: Page, address: str) -> None:
    user = 45
    title = open_list(page, address, user)[0]
    page.get_by_role("button", name=f"Watched {title}", exact=True).click()
    expect(page.locator(".timeline > li").first).to_contain_text("watched")
    expect(status(page)).to_contain_text(f"You watched {title}.")
    assert told(address, f"v1/users/{user}/history")["events"][0]["kind"] == "play"


def test_a_refused_rating_is_taken_back_and_explained(page: Page, address: str) -> None:
    detail = "the database of events does not answer"
    page.route("**/v1/events", lambda route: refuse(route, 503, "log_unavailable", detail))
    before = open_list(page, address, READER)
    expect(page.locator(".timeline > li")).not_to_have_count(0)
    events = page.locator(".timeline > li").count()
    rate(page, before[0], 4)
    expect(page.locator(".toast")).to_have_text(
        "Not saved. The database of events does not answer. Try again in a moment."
    )
    expect(page.locator(".timeline > li")).to_have_count(events)
    assert titles(page) == before


def test_somebody_new_who_rates_quickly_is_one_user(page: Page, address: str) -> None:
    page.goto(f"{address}#/new?liked={','.join(map(str, LOVED))}")
    expect(cards(page)).to_have_count(20)
    first, second = titles(page)[:2]
    sent: list[str] = []

    def late(route: Route) -> None:
        sent.append(json.loads(route.request.post_data or "")["events"][-1]["user_id"])
        time.sleep(0.3)
        route.continue_()

    page.route("**/v1/events", late)
    rate(page, first, 5)
    rate(page, second, 4)
    expect(status(page)).to_contain_text(f"You rated {second} 4.")
    expect(page).to_have_url(re.compile("#/user/"))
    (user,) = set(sent)
    events = told(address, f"v1/users/{user}/history")["events"]
    assert {event["title"] for event in events[:2]} == {first, second}
    assert len(events) == 2 + len(LOVED)


def test_who_leaves_while_a_rating_is_sent_stays_where_they_went(page: Page, address: str) -> None:
    page.goto(f"{address}#/new?liked={','.join(map(str, LOVED))}")
    expect(cards(page)).to_have_count(20)
    title = titles(page)[0]

    def late(route: Route) -> None:
        time.sleep(0.5)
        route.continue_()

    page.route("**/v1/events", late)
    rate(page, title, 5)
    page.get_by_role("link", name="Quality").click()
    expect(page).to_have_url(re.compile(r"#/quality\?user=\d+$"))
    expect(page.get_by_role("heading", name="Quality", level=1)).to_be_visible()
    assert page.title().startswith("Quality")
    page.get_by_role("link", name="For you").click()  # who is the user that has rated
    expect(page.locator(".timeline > li").first).to_contain_text(title)


def test_back_from_a_movie_the_list_is_where_it_was(page: Page, address: str) -> None:
    open_list(page, address, READER)
    page.get_by_role("button", name="Show 20 more").click()
    expect(cards(page)).to_have_count(40)
    card = cards(page).nth(25)
    expect(card).to_contain_text("you rated")
    card.scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    card.get_by_role("link").first.click()
    expect(page.get_by_role("button", name="Show 20 more")).to_have_count(0)
    page.go_back()
    expect(cards(page)).to_have_count(40)
    expect(card).to_be_in_viewport()


def test_a_rating_further_down_is_confirmed_where_it_is_seen(page: Page, address: str) -> None:
    page.set_viewport_size({"width": PHONE, "height": 800})
    title = open_list(page, address, 53)[8]
    rate(page, title, 2)
    toast = page.locator(".toast")
    expect(toast).to_contain_text(f"You rated {title} 2.")
    toast.get_by_role("link", name="Change it").click()
    expect(page.locator(".movie-own")).to_contain_text("This user gave it 2")


def test_filters_are_named_where_they_are_closed(page: Page, address: str) -> None:
    page.goto(f"{address}#/user/{READER}?genre=Western&from=1950&to=1960")
    summary = page.locator(".controls-panel summary")
    expect(summary).to_have_text("Switches and filters · Western · 1950\u20131960")


def test_who_was_looked_at_last_can_be_gone_on_as(page: Page, address: str) -> None:
    open_list(page, address, READER)
    page.goto(f"{address}#/")
    page.get_by_role("link", name=f"Go on as user {READER}").click()
    expect(page.get_by_role("heading", name=f"For user {READER}")).to_be_visible()


def test_a_user_who_is_forgotten_is_told_what_is_kept_until_the_next_training(
    page: Page, address: str
) -> None:
    user = 54
    open_list(page, address, user)
    title = titles(page)[0]
    rate(page, title, 5)
    expect(status(page)).to_contain_text("You rated")
    events = len(told(address, f"v1/users/{user}/history", limit=1000)["events"])
    page.get_by_role("button", name="Forget this user").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget").click()
    expect(page.locator(".toast")).to_have_text(
        f"User {user} is forgotten. 1 event deleted; the files of the run hold {events - 1} events "
        "until the next training."
    )
    expect(page.get_by_role("link", name="Go on as")).to_have_count(0)


def test_an_event_that_did_not_arrive_is_sent_again_under_its_key(page: Page, address: str) -> None:
    user = 52
    title = open_list(page, address, user)[0]
    keys: list[str | None] = []

    def answer(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key"))
        if len(keys) == 1:
            refuse(route, 503, "log_unavailable", "the database of events does not answer")
        else:
            route.continue_()

    page.route("**/v1/events", answer)
    rate(page, title, 4)
    expect(status(page)).to_contain_text(f"You rated {title} 4.")
    assert len(keys) == 2
    assert keys[0] is not None
    assert keys[0] == keys[1]


def refuse(route: Route, code: int, name: str, detail: str) -> None:
    """Answer with a problem."""
    problem = {"status": code, "code": name, "detail": detail, "request_id": "0123abcd"}
    route.fulfill(status=code, content_type="application/problem+json", body=json.dumps(problem))


def test_a_service_that_is_gone_is_said_so(page: Page, address: str) -> None:
    open_list(page, address, READER)
    page.route("**/v1/**", lambda route: route.abort())
    page.get_by_label("Genre", exact=True).select_option("Drama")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Start it with `rec serve`")
    page.unroute("**/v1/**")
    alert.get_by_role("button", name="Try again").click()
    expect(alert).to_have_count(0)
    assert titles(page) == listed(address, READER, genre="Drama")


def test_somebody_new_is_a_user_from_the_first_rating(page: Page, address: str) -> None:
    page.goto(address)
    wanted = [told(address, f"v1/movies/{movie}")["title"] for movie in LOVED]
    for title in wanted:
        page.get_by_label("Find movies to choose").fill(title)
        page.get_by_role("button", name=f"Choose {title}", exact=True).click()
    page.locator(".slots-row").get_by_role("button", name="Show my list").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    expect(cards(page)).to_have_count(20)
    expect(page.locator(".timeline > li")).to_have_count(3)
    assert not set(wanted) & set(titles(page))
    title = titles(page)[0]
    rate(page, title, 4)
    expect(page).to_have_url(re.compile(r"#/user/\d{12}$"))
    expect(page.locator(".timeline > li")).to_have_count(4)
    user = page.url.rpartition("/")[2]
    known = {event["title"] for event in told(address, f"v1/users/{user}/history")["events"]}
    assert known == {*wanted, title}
    expect(status(page)).to_contain_text(f"You rated {title} 4.")
    assert titles(page) == listed(address, user)


def test_somebody_can_be_forgotten(page: Page, address: str) -> None:
    user = 46
    title = open_list(page, address, user)[0]
    rate(page, title, 2)
    expect(status(page)).to_contain_text(title)
    page.get_by_role("button", name="Forget this user").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("cannot be undone")
    dialog.get_by_role("button", name="Forget").click()
    expect(page.locator(".toast")).to_contain_text(f"User {user} is forgotten")
    assert told(address, f"v1/users/{user}/history")["events"] == []


def test_switches_are_in_the_address(page: Page, address: str) -> None:
    open_list(page, address, READER)
    page.get_by_role("radio", name="Rating", exact=True).click()
    expect(page).to_have_url(re.compile("rank=rating"))
    page.get_by_label("Genre", exact=True).select_option("Drama")
    page.get_by_label("First year").fill("1980")
    page.get_by_label("First year").blur()
    expect(page).to_have_url(re.compile("genre=Drama&from=1980"))
    wanted = listed(address, READER, rank_by="rating", genre="Drama", where="year>=1980")
    expect(cards(page)).to_have_count(len(wanted))
    expect(page.locator(".cards.waiting")).to_have_count(0)
    assert titles(page) == wanted
    page.reload()
    expect(cards(page)).to_have_count(len(wanted))
    expect(page.get_by_role("radio", name="Rating", exact=True)).to_be_checked()
    expect(page.get_by_label("Genre", exact=True)).to_have_value("Drama")
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(re.compile(f"#/user/{READER}$"))


def test_a_condition_that_means_nothing_is_explained(page: Page, address: str) -> None:
    before = open_list(page, address, READER)
    page.get_by_label("Only where").fill("colour=blue")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("colour")
    assert titles(page) == before


def test_a_typing_error_is_understood(page: Page, address: str) -> None:
    meant = told(address, "v1/movies", q="stranger", limit=1)["movies"][0]["title"]
    page.goto(address)
    page.get_by_label("Search movies by title").fill(meant.replace("tranger", "tragner"))
    expect(page).to_have_url(re.compile("#/search"))
    link = page.locator(".status").filter(has_text="Did you mean").get_by_role("link")
    expect(link).to_contain_text(meant)
    link.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(meant)


def test_a_movie_says_what_is_predicted_and_why(page: Page, address: str) -> None:
    page.goto(f"{address}#/movie/{MOVIE}?user={READER}")
    answer = told(address, f"v1/users/{READER}/movies/{MOVIE}", explain="true")
    own = page.get_by_role("region", name=f"For user {READER}")
    expect(own).to_contain_text(f"Predicted rating {answer['rating']:.1f}")
    influences = answer["explanation"]["influences"]
    rows = own.locator(".effects tbody tr")
    expect(rows).to_have_count(min(8, len(influences)))
    expect(rows.first).to_contain_text(influences[0]["title"])
    near = told(address, f"v1/movies/{MOVIE}/similar", k=12)["movies"]
    neighbours = page.get_by_role("list", name="Similar movies")
    expect(neighbours.locator(".card")).to_have_count(len(near))
    neighbours.get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(near[0]["title"])
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_movie_can_be_rated_on_its_page(page: Page, address: str) -> None:
    user = 47
    title = open_list(page, address, user)[0]
    page.get_by_role("link", name=title, exact=True).first.click()
    rate(page, title, 4)
    expect(page.locator(".toast")).to_contain_text(f"You rated {title} 4.")
    expect(page.locator(".movie-own")).to_contain_text("This user gave it 4")
    expect(page.locator(".movie-own .star[data-on]")).to_have_count(4)


def test_a_movie_that_is_not_there_is_said_so(page: Page, address: str) -> None:
    page.goto(f"{address}#/movie/99999?user={READER}")
    expect(page.get_by_role("heading", name="No such movie")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Unknown movie 99999")


def test_the_run_that_answers_is_on_the_quality_page(page: Page, address: str) -> None:
    page.goto(f"{address}#/quality")
    runs = told(address, "v1/runs")
    expect(page.locator(".run.answering")).to_contain_text(runs["answering"])
    expect(page.get_by_role("region", name="Graded live")).to_be_visible()


def test_a_run_shows_how_far_predictions_are_off_on_average(page: Page, address: str) -> None:
    give_runs(page)
    page.goto(f"{address}#/quality")
    figure = page.get_by_role("figure")
    expect(figure).to_have_count(1)
    expect(figure).to_contain_text("61 ratings held out, in 2 groups")
    expect(figure).to_contain_text("Furthest off: 2.50 predicted, 2.75 given")
    assert figure.locator("circle").count() == figure.get_by_role("listitem").count() == 2
    newest = page.locator(".run").first
    expect(newest).to_contain_text("Movies in 40 lists of ten")
    expect(newest).to_contain_text("25%")


def test_promoting_says_what_will_happen_and_asks(page: Page, address: str) -> None:
    asked = give_runs(page)
    page.goto(f"{address}#/quality")
    better = "v000003-1f7b2e90"
    promote = page.get_by_role("button", name=f"Promote … {better}")
    promote.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("no request fails")
    expect(dialog).to_contain_text(better)
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    expect(promote).to_be_focused()
    assert asked == []
    promote.click()
    dialog.get_by_role("button", name="Promote").click()
    expect(page.locator(".run.answering")).to_contain_text(better)
    page.get_by_role("button", name="Roll back").click()
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.locator(".run.answering")).to_contain_text("v000002-5d0c11aa")
    assert asked == [f"{better}/promote", "rollback"]


def test_runs_are_called_better_where_both_were_asked_the_same(page: Page, address: str) -> None:
    give_runs(page)
    page.goto(f"{address}#/quality")
    newest, oldest = page.locator(".run").first, page.locator(".run").last
    verdict = page.locator(".good-text, .bad-text")
    expect(oldest.locator(verdict)).to_have_text(["+0.0089 worse"])
    expect(newest.locator(verdict)).to_have_count(0)  # it was asked about visits, the others not
    newest.get_by_role("button", name="Promote").click()
    expect(page.get_by_role("dialog")).to_contain_text("do not say which is better")


def test_without_a_run_that_answered_before_there_is_no_way_back(page: Page, address: str) -> None:
    page.goto(f"{address}#/quality")
    expect(page.locator(".run.answering")).to_be_visible()
    expect(page.get_by_role("button", name="Roll back")).to_be_disabled()


def give_runs(page: Page) -> list[str]:
    """Let the service have three runs; return what is asked of them."""
    measures = {
        "v000003-1f7b2e90": (0.8655, 0.1097),
        "v000002-5d0c11aa": (0.8702, 0.1108),
        "v000001-9e41c0b7": (0.8791, None),
    }
    answering, asked = ["v000002-5d0c11aa"], []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.url.partition("/v1/runs/")[2])
            name = asked[-1].removesuffix("/promote")
            answering[0] = name if name in measures else "v000002-5d0c11aa"
        runs: list[dict[str, object]] = [
            {
                "name": name,
                "created": "2026-11-20T04:00:00+00:00",
                "preset": "quick",
                "answering": name == answering[0],
                "answered": name < answering[0],
                "promotable": name != answering[0],
                "validation_rmse": rmse,
                "validation_ndcg": ndcg,
                "events": 6000,
                "movies": 200,
                "users": 150,
            }
            for name, (rmse, ndcg) in measures.items()
        ]
        runs[0] |= {  # those that were trained before have none of it
            "validation_visits": 40,
            "validation_visit_ndcg": 0.12,
            "validation_coverage": 0.25,
            "calibration": [
                {"predicted": 2.5, "true": 2.75, "ratings": 30},
                {"predicted": 4.0, "true": 4.0, "ratings": 31},
            ],
        }
        route.fulfill(json={"answering": answering[0], "runs": runs})

    page.route("**/v1/runs**", answer)
    page.route("**/v1/runs/**", answer)
    return asked


def test_live_follows_the_service_until_it_is_paused(page: Page, address: str) -> None:
    page.clock.install()
    page.goto(f"{address}#/live")
    curve = page.locator(".spark-line").first
    expect(curve).to_have_attribute("d", re.compile("^M"))
    expect(page.get_by_role("region", name="By route", exact=True)).to_contain_text("/v1/service")
    first = curve.get_attribute("d")
    page.clock.run_for(2100)
    expect(curve).not_to_have_attribute("d", first or "")
    page.get_by_role("button", name="Pause").click()
    second = curve.get_attribute("d")
    page.clock.run_for(10_000)
    assert curve.get_attribute("d") == second


def test_live_shows_an_event_that_came_in(page: Page, address: str) -> None:
    event = {"user_id": 48, "movie_id": MOVIE, "kind": "like"}
    httpx.post(f"{address}v1/events", json=event).raise_for_status()
    page.goto(f"{address}#/live")
    newest = page.get_by_role("region", name="Newest events").get_by_role("listitem").first
    expect(newest).to_contain_text(told(address, f"v1/movies/{MOVIE}")["title"])
    newest.get_by_role("link", name="user 48").click()
    expect(page.locator(".timeline > li").first).to_contain_text("liked")


def test_movies_are_added_hidden_and_removed(page: Page, address: str) -> None:
    page.goto(f"{address}#/catalogue")
    page.get_by_role("button", name="Add a movie").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Id, which no other movie has").fill("900001")
    dialog.get_by_label("Title").fill("The Lighthouse Keeper")
    dialog.get_by_label("Year").fill("2001")
    dialog.get_by_label("Genres").select_option("Drama")
    dialog.get_by_role("button", name="Add").click()
    row = page.locator(".catalogue-row").filter(has_text="The Lighthouse Keeper")
    row.get_by_role("button", name="Hide").click()
    expect(row).to_contain_text("Hidden")
    assert told(address, "v1/movies/900001")["hidden"]
    row.get_by_role("button", name="Show").click()
    expect(row).not_to_contain_text("Hidden")
    row.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    assert httpx.get(f"{address}v1/movies/900001").status_code == 404


def test_a_movie_that_is_there_is_not_added_over(page: Page, address: str) -> None:
    before = told(address, f"v1/movies/{MOVIE}")
    page.goto(f"{address}#/catalogue")
    page.get_by_role("button", name="Add a movie").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Id, which no other movie has").fill(str(MOVIE))
    dialog.get_by_label("Title").fill("My own film")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog.get_by_role("alert")).to_contain_text(f"Id {MOVIE} is {before['title']}")
    expect(dialog.get_by_label("Title")).to_have_value("My own film")
    assert told(address, f"v1/movies/{MOVIE}") == before
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_an_outage_is_said_once(page: Page, address: str) -> None:
    page.goto(f"{address}#/live")
    expect(page.locator(".tile")).not_to_have_count(0)
    detail = "the database of events does not answer"
    page.route("**/v1/stats", lambda route: refuse(route, 503, "log_unavailable", detail))
    alert = page.get_by_role("alert")
    expect(alert).to_be_visible()
    alert.evaluate("each => { each.dataset.first = 'yes'; }")
    page.wait_for_timeout(4500)
    expect(alert).to_have_count(1)
    assert alert.get_attribute("data-first") == "yes"
    expect(page.locator(".live-page.stale")).to_have_count(1)
    page.unroute("**/v1/stats")
    expect(alert).to_have_count(0)


def test_the_map_is_read_by_keyboard_and_in_words(page: Page, address: str) -> None:
    page.goto(f"{address}#/catalogue")
    reading = page.locator(".map-reading")
    expect(page.locator(".legend li")).not_to_have_count(0)
    canvas = page.locator(".map canvas")
    canvas.focus()
    movies = {movie["title"]: movie for movie in told(address, "v1/movies/map")["movies"]}
    expect(reading.get_by_role("link")).to_contain_text(next(iter(movies)))
    place = movies[next(iter(movies))]["x"]
    for key, grows in (("ArrowRight", True), ("ArrowLeft", False)):
        page.keyboard.press(key)
        there = movies[reading.get_by_role("link").inner_text()]["x"]
        assert (there > place) is grows
        place = there
    page.get_by_text("The map in words").click()
    words = page.get_by_role("region", name="Genres on the map")
    expect(words).to_contain_text(next(iter(movies.values()))["genre"])
    canvas.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/movie/"))


def test_a_key_is_asked_for_once_and_kept_in_the_tab(
    page: Page, own_run: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(key := "a-key-of-many-letters")
    settings = ServiceSettings.model_validate(
        {"run": own_run, "database": str(tmp_path / "log.db"), "keys_file": keys}
    )
    with serving(create_app(settings)) as address:
        page.goto(f"{address}#/user/{READER}")
        dialog = page.get_by_role("dialog")
        for given in ("another-key-of-many-letters", key):
            dialog.get_by_label("API key").fill(given)
            dialog.get_by_role("button", name="Use this key").click()
        expect(cards(page)).to_have_count(20)
        assert key not in page.evaluate("JSON.stringify(localStorage)")
        page.reload()
        expect(cards(page)).to_have_count(20)


def test_a_title_is_never_markup(page: Page, address: str) -> None:
    title = "<img src=x onerror=alert(1)> & <b>bold</b>"
    facts = {"title": title, "year": 2000, "genres": ["Drama"]}
    httpx.put(f"{address}v1/movies/900002", json=facts).raise_for_status()
    page.goto(f"{address}#/movie/900002?user={READER}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)
    assert page.locator("main img").count() == 0
    httpx.delete(f"{address}v1/movies/900002").raise_for_status()


def test_a_title_begins_with_its_article(page: Page, address: str) -> None:
    facts = {"title": "Seventh Seal, The (Sjunde inseglet, Det)", "genres": ["Drama"]}
    httpx.put(f"{address}v1/movies/900003", json=facts).raise_for_status()
    page.goto(f"{address}#/movie/900003")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("The Seventh Seal (Sjunde inseglet, Det)")
    httpx.delete(f"{address}v1/movies/900003").raise_for_status()


def test_a_list_is_rated_by_keyboard(page: Page, address: str) -> None:
    title = open_list(page, address, 49)[1]
    stars = page.get_by_role("group", name=f"Rate {title}", exact=True).first
    stars.get_by_role("button").last.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(status(page)).to_contain_text(f"You rated {title} 4.")
    # The focus goes on with the movie that took its place.
    expect(cards(page).nth(1)).to_be_focused()


@pytest.mark.parametrize(("motion", "user"), [("no-preference", 50), ("reduce", 51)])
def test_what_stays_glides_unless_motion_is_not_wanted(
    page: Page, address: str, motion: str, user: int
) -> None:
    page.emulate_media(reduced_motion="reduce" if motion == "reduce" else "no-preference")
    title = open_list(page, address, user)[0]
    page.evaluate(
        """() => {
            window.gliding = 0;
            const animate = Element.prototype.animate;
            Element.prototype.animate = function (frames, ...rest) {
                if ("transform" in frames) window.gliding += 1;
                return animate.call(this, frames, ...rest);
            };
        }"""
    )
    rate(page, title, 5)
    expect(status(page)).to_contain_text("You rated")
    assert (page.evaluate("window.gliding") > 0) is (motion != "reduce")


def test_the_colours_that_were_chosen_stay(page: Page, address: str) -> None:
    page.goto(address)
    switch = page.get_by_role("button", name="Dark colours")
    expect(switch).to_have_attribute("aria-pressed", "false")
    switch.click()
    page.reload()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_the_content_is_one_key_away(page: Page, address: str) -> None:
    open_list(page, address, READER)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page).to_have_url(re.compile(f"#/user/{READER}$"))


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_accessible_and_fits(page: Page, address: str, view: str) -> None:
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(f"{address}#/{VIEWS[view]}")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    for details in page.locator("details").all():
        details.evaluate("each => { each.open = true; }")
    for width in (DESKTOP, PHONE):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.emulate_media(color_scheme="dark" if width == PHONE else "light")
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()


def test_the_page_asks_nobody_else() -> None:
    folder = Path(__file__).parent.parent / "retrieval" / "service" / "page"
    texts = {path: path.read_text() for path in folder.glob("*.*") if path.suffix != ".woff2"}
    for path, text in texts.items():
        outside = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not outside, path
        assert "innerHTML" not in text, path
    assert "style=" not in texts[folder / "index.html"]
