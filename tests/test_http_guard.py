"""Who may ask: keys, names of the service, and pages of other origins."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from web import Service, service_of

import retrieval.service
from retrieval.errors import RequestError
from retrieval.service.http.app import create_app, hosts_of, is_loopback
from retrieval.service.http.keys import read_keys
from retrieval.service.settings import ServiceSettings

PLAIN, HASHED = "plain-0123456789abcdef", "hashed-0123456789abcdef"
FRIEND = "https://friend.example"
LIST = "/v1/users/4/recommendations"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    digest = hashlib.sha256(HASHED.encode()).hexdigest()
    path.write_text(f"# whose\n\n{PLAIN}\n  sha256:{digest.upper()}  \n")
    return path


@pytest.fixture(scope="module")
def service(run: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("log")
    with service_of(run, folder, keys_file=keys, cors=(FRIEND,)) as service:
        yield service


@pytest.fixture(scope="module")
def local(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service_of(run, tmp_path_factory.mktemp("log"), hosts=("localhost", "[::1]")) as service:
        yield service


@pytest.mark.parametrize("key", [PLAIN, HASHED])
def test_who_has_a_key_may_ask(service: Service, key: str) -> None:
    for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
        assert service.ask("GET", LIST, headers=headers).status_code == 200


def test_who_has_none_may_not(service: Service) -> None:
    assert service.refused("GET", LIST) == (401, "key_needed")
    assert service.ask("GET", LIST).headers["www-authenticate"] == "Bearer"
    assert service.refused("GET", "/metrics") == (401, "key_needed")
    assert service.refused("GET", "/v1/nothing") == (401, "key_needed")
    for key in ("wrong", f"{PLAIN}x", "\u00e9", f"sha256:{hashlib.sha256(b'x').hexdigest()}"):
        headers = {b"x-api-key": key.encode()}
        assert service.refused("GET", LIST, headers=headers) == (401, "wrong_key")


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/docs/docs.js", "/openapi.json", "/health/live", "/health/ready"]
)
def test_what_holds_no_data_needs_no_key(service: Service, path: str) -> None:
    assert service.ask("GET", path).status_code == 200


def test_a_folder_that_is_open_is_no_way_to_another(service: Service) -> None:
    for path in ("/page/../v1/service", "/page/%2e%2e/v1/service", "/docs/..%2fmetrics"):
        assert service.ask("GET", path).status_code in {401, 404}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        ("short\n", ":1: a key has at least 16"),
        (f"{PLAIN}\nwith blanks in it, yes\n", ":2: a key"),
        ("sha256:abc\n", ":1: a key"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys.txt"
    path.write_text(text)
    with pytest.raises(RequestError, match=said):
        read_keys(path)


def test_a_file_of_keys_that_is_not_there_is_said(run: Path, tmp_path: Path) -> None:
    settings = ServiceSettings.model_validate(
        {"run": run, "database": str(tmp_path / "log.db"), "keys_file": tmp_path / "none.txt"}
    )
    with pytest.raises(RequestError, match="keys cannot be read"):
        create_app(settings)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "LOCALHOST:1", "[::1]:8000"])
def test_a_service_goes_by_its_names(local: Service, host: str) -> None:
    assert local.ask("GET", "/health/live", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1@x"])
def test_a_name_of_somebody_else_is_refused(local: Service, host: str) -> None:
    headers = {"host": host}
    assert local.refused("GET", "/health/live", headers=headers) == (421, "wrong_host")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"host": "127.0.0.1"}, {"localhost", "127.0.0.1", "[::1]"}),
        ({"host": "localhost"}, {"localhost", "127.0.0.1", "[::1]"}),
        ({"host": "127.0.0.1", "keys_file": "keys.txt"}, set()),
        ({"host": "10.0.0.1"}, set()),
    ],
)
def test_only_a_service_without_keys_minds_its_name(
    given: dict[str, object], names: set[str]
) -> None:
    settings = ServiceSettings.model_validate({"run": ".", "database": "log.db", **given})
    assert set(hosts_of(settings)) == names


def test_addresses_of_this_machine_alone_are_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.0.0.1", "::", "example.org", "")))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[", "http://localhost"])
def test_pages_of_other_origins_may_not_write(local: Service, origin: str) -> None:
    headers = {"host": "localhost:8000", "origin": origin}
    refused = local.refused("POST", "/v1/runs/rollback", headers=headers)
    assert refused == (403, "cross_origin")


def test_a_page_of_its_own_may_write(local: Service) -> None:
    headers = {"host": "localhost:8000", "origin": "http://localhost:8000"}
    refused = local.refused("POST", "/v1/runs/rollback", headers=headers)
    assert refused == (409, "not_promoted")


def test_other_origins_may_ask_only_where_that_is_wanted(service: Service, local: Service) -> None:
    headers = {"origin": FRIEND, "x-api-key": PLAIN, "host": "localhost"}
    asked = service.ask("GET", LIST, headers=headers)
    assert asked.headers["access-control-allow-origin"] == FRIEND
    assert "ETag" in asked.headers["access-control-expose-headers"]
    other = service.ask("GET", LIST, headers={**headers, "origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in local.ask("GET", LIST, headers=headers).headers


def test_a_friend_is_told_what_it_may_send(service: Service) -> None:
    headers = {"origin": FRIEND, "access-control-request-method": "PUT"}
    asked = service.ask("OPTIONS", "/v1/movies/1", headers=headers)
    assert asked.status_code == 200
    assert "PUT" in asked.headers["access-control-allow-methods"]


def test_a_refusal_can_be_read_by_a_friend(service: Service) -> None:
    answer = service.ask("GET", LIST, headers={"origin": FRIEND})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == FRIEND


def test_a_page_runs_nothing_but_its_own(service: Service) -> None:
    for path in ("/", "/docs"):
        headers = service.ask("GET", path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-type"] == "text/html; charset=utf-8"
    headers = service.ask("GET", "/health/live").headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["referrer-policy"] == "no-referrer"


def test_pages_need_nobody_else() -> None:

    folder = Path(retrieval.service.__file__).parent
    for path in (*folder.glob("page/*.html"), *folder.glob("http/docs/*.html")):
        text = path.read_text()
        assert "://" not in text.replace("http://www.w3.org", "")
        assert "<script>" not in text
        assert " on" + "click" not in text


def test_a_file_of_a_page_is_sent_once(service: Service) -> None:
    first = service.ask("GET", "/docs/docs.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = service.ask("GET", "/docs/docs.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
