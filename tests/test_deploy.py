"""What puts the service to work says the same as the service: images, compose, alerts, units."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families

from retrieval.cli.app import assembled
from retrieval.service.grading import Grading
from retrieval.service.http.app import ROUTES
from retrieval.service.http.keys import read_keys
from retrieval.service.metrics import Metrics

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
REQUIREMENTS = (DEPLOY / "requirements-serve.txt").read_text(encoding="utf-8").splitlines()
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
BOARD: dict[str, Any] = json.loads(
    (DEPLOY / "grafana" / "dashboards" / "rec.json").read_text(encoding="utf-8")
)
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))

# What is only needed to train.
HEAVY = ("torch", "numba", "sklearn", "scipy", "pandas", "pyarrow", "onnx")

# Bytes of 10**6 that an image may have, and those of what it begins from (python:3.11-slim).
IMAGE, BASE = 450, 135


def name_of(requirement: str) -> str:
    """The name of a distribution, as all spell it."""
    return re.split(r"[\[<>=!~;]", requirement)[0].strip().lower().replace("_", "-")


def required() -> dict[str, str]:
    """Lines of the requirements of the serving image, by name."""
    return {name_of(line): line for line in REQUIREMENTS if not line.startswith("#")}


def declared() -> dict[str, str]:
    """Requirements of the package and of its extra for serving, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    return {name_of(line): line for line in lines}


def served(python: Path, run: Path, folder: Path) -> dict[str, Any]:
    """What a service says that is asked a little."""
    done = subprocess.run(
        [python, ROOT / "tests" / "served.py", run, folder / "log.db"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def check_answers(told: dict[str, Any]) -> None:
    played = told["before"][0]["movie_id"]
    assert told["kept"]["accepted"] == 1
    assert played not in [movie["movie_id"] for movie in told["after"]]
    assert played in [movie["movie_id"] for movie in told["found"]]


def test_the_serving_image_has_what_the_service_imports_and_nothing_else(
    run: Path, tmp_path: Path
) -> None:
    told = served(Path(sys.executable), run, tmp_path)
    check_answers(told)
    loaded = {name_of(name) for name in told["loaded"]}
    assert loaded & declared().keys() == required().keys()


def test_the_serving_image_takes_the_versions_that_the_package_takes() -> None:
    assert required().items() <= declared().items()


def test_images_run_as_somebody_who_is_not_root_and_are_asked_for_their_health() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert stages[-2:] == [("bare", "train"), ("bare", "serve")]
    assert re.search(r"^USER 1000:1000$", DOCKERFILE, flags=re.MULTILINE)
    (health,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*?\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    program = json.loads(health.replace("\\\n", ""))
    assert program[:2] == ["python", "-c"]
    compile(program[2], "health", "exec")
    assert "/health/ready" in program[2]


def test_only_what_is_installed_goes_into_an_image() -> None:
    given = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, flags=re.MULTILINE)
    wanted = {name for names in copied for name in names.split()}
    assert "*" in given
    assert {name[1:] for name in given if name.startswith("!")} == wanted
    assert all((ROOT / name).exists() for name in wanted)


@pytest.mark.slow
def test_a_clean_prefix_serves_without_torch_and_is_small_enough(run: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    subprocess.run(
        [DEPLOY / "install.sh", prefix, "serve"],
        check=True,
        env=os.environ | {"PYTHON": sys.executable},
    )
    python = prefix / "bin" / "python"
    check_answers(served(python, run, tmp_path))
    missing = f"from importlib.util import find_spec as f; print([*filter(f, {HEAVY})])"
    found = subprocess.run([python, "-c", missing], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
    listed = subprocess.run(
        [prefix / "bin" / "rec", "runs", "versions", "--json", "--run", run],
        check=True,
        capture_output=True,
    )
    assert json.loads(listed.stdout)["versions"]
    size = sum(path.lstat().st_size for path in prefix.rglob("*")) / 10**6
    assert size + BASE < IMAGE


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of `rec` that the files and the page name, and where."""
    for path in sorted(DEPLOY.glob("rec-*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("#") and "/bin/rec " in line:
                yield path.name, shlex.split(line.partition("/bin/rec ")[2])
    for name, service in COMPOSE["services"].items():
        if "two-tower-rec" in service["image"]:
            yield f"compose {name}", list(map(with_defaults, service["command"]))
    yield "Dockerfile", json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[-1])
    for block in re.findall(r"^```\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith(("rec ", "$ rec ")):
                yield "docs/service.md", shlex.split(line.removeprefix("$ "))[1:]


def with_defaults(text: str) -> str:
    """Text in which variables have the values they have where nobody sets them."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize(("place", "words"), list(commands()))
def test_commands_are_those_that_rec_takes(place: str, words: list[str]) -> None:
    command: Any = typer.main.get_command(assembled())
    left = list(words)
    while hasattr(command, "commands") and left:
        command = command.commands[left.pop(0)]
    assert command.make_context(place, left).params


def test_there_is_a_command_in_each_file() -> None:
    places = {place for place, _ in commands()}
    files = {"rec-serve.service", "rec-retrain.service", "rec-retrain.cron", "Dockerfile"}
    assert places == files | {"compose rec", "compose train", "docs/service.md"}


def curls() -> Iterator[list[str]]:
    """Words of every curl command of the page; one goes on while a quote is open."""
    lines = iter(PAGE.splitlines())
    for line in lines:
        if line.startswith("$ curl"):
            command = line
            while command.endswith("\\") or command.count("'") % 2:
                command = command.removesuffix("\\") + "\n" + next(lines)
            yield shlex.split(command)[2:]


@pytest.mark.parametrize("words", list(curls()), ids=" ".join)
def test_requests_of_the_page_are_those_that_the_service_takes(words: list[str]) -> None:
    (address,) = [word for word in words if word.startswith("localhost:8000")]
    asked = urlsplit(f"//{address}")
    body = words[words.index("--json") + 1] if "--json" in words else None
    usual = "GET" if body is None else "POST"
    method = words[words.index("-X") + 1] if "-X" in words else usual
    route = next(
        route
        for route in ROUTES
        if route.method == method
        and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), asked.path)
    )
    assert parse_qs(asked.query).keys() <= route.query.model_fields.keys()
    assert (body is None) == (route.body is None)
    if body is not None and route.body is not None:
        route.body.model_validate_json(body)


def test_the_service_can_be_part_of_another_application(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copytree(run, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(block, encoding="utf-8")
    asked = (
        "from mine import app\nfrom starlette.testclient import TestClient\n"
        "with TestClient(app) as client:\n"
        "    print(client.get('/rec/v1/users/4/recommendations?k=5').text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False
    )
    assert len(json.loads(done.stdout)["movies"]) == 5, done.stderr


def exported() -> dict[str, set[str]]:
    """Names of the metrics that the service exports, with their labels."""
    metrics = Metrics(Grading(lambda: 0.0), lambda: 0.0)
    metrics.answered("/", "GET", 200, 0.1, {"search": 0.1})
    metrics.listed([1], 1, known=False)
    metrics.took_in(["play"])
    metrics.refresh(created=0.0, waiting=0, stale=False)
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries() -> Iterator[tuple[str, str]]:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("place", "query"), list(queries()))
def test_panels_and_alerts_ask_for_what_is_exported(place: str, query: str) -> None:
    known = exported()
    asked = re.findall(r'\b(rec_\w+|up)\b(?:\{((?:[^"}]|"[^"]*")*)\})?', query)
    assert asked, place
    labels: set[str] = set()
    for name, conditions in asked:
        assert name in known
        labels |= known[name]
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', conditions):
            assert label in known[name] | {"job"}
            check_value(label, value)
    for names in re.findall(r"\bby \(([^)]*)\)", query):
        assert set(re.split(r",\s*", names)) <= labels


def check_value(label: str, value: str) -> None:
    """Raise an `AssertionError` for a label that never has a value."""
    whole = Metrics(Grading(lambda: 0.0), lambda: 0.0)
    whole.refresh(created=0.0, waiting=0, stale=False)
    graded = re.findall(rf'{label}="(\w+)"', whole.exposition().decode())
    match label:
        case "window" | "sum":
            assert value in graded
        case "route":
            assert value in {route.path for route in ROUTES}
        case "status":
            assert re.fullmatch(r"5(\.\.|\d\d)", value)
        case _:
            assert (label, value) == ("job", "rec")


def test_the_dashboard_asks_the_datasource_that_is_provisioned() -> None:
    folder = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    panels = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
    asked = {each["datasource"]["uid"] for panel in panels for each in [panel, *panel["targets"]]}
    assert asked == {source["uid"]}
    (provider,) = yaml.safe_load((folder / "dashboards" / "rec.yml").read_text())["providers"]
    mounted = dict(mounts("grafana"))
    assert mounted[provider["options"]["path"]] == "./deploy/grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        x, y, w, h = (panel["gridPos"][name] for name in "xywh")
        cells = {(x + i, y + j) for i in range(w) for j in range(h)}
        assert x + w <= 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def mounts(service: str) -> Iterator[tuple[str, str]]:
    """Where a container finds what is mounted, and what that is."""
    for volume in COMPOSE["services"][service].get("volumes", []):
        source, target = volume.split(":")[:2]
        yield target, source


def test_compose_reaches_no_further_than_this_machine_and_mounts_what_is_there() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert "no-new-privileges:true" in service["security_opt"]
        for _, source in mounts(name):
            if source.startswith("./deploy"):
                assert (ROOT / source).exists()
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    mounted = dict(mounts("prometheus"))
    assert mounted["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus.yml"
    for name in settings["rule_files"]:
        assert mounted[f"/etc/prometheus/{name}"] == f"./deploy/{name}"


def test_what_compose_is_not_to_tell_is_made_on_the_spot(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    (tmp_path / "secrets").mkdir()
    made = [contents(tmp_path) for _ in range(2)]
    assert made[0] == made[1]  # what is there stays
    files = {Path(secret["file"]).name: secret["file"] for secret in COMPOSE["secrets"].values()}
    assert {Path(file).parent.as_posix() for file in files.values()} == {"deploy/secrets"}
    assert files.keys() <= made[0].keys()
    keys = read_keys(tmp_path / "secrets" / "rec_keys")
    assert all(keys.holds(made[0][name].strip()) for name in ("api_key", "metrics_key"))
    assert made[0]["database_password"].strip() in made[0]["rec_database"]
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    used = {name for service in COMPOSE["services"].values() for name in service["secrets"]}
    assert used == files.keys()
    assert (DEPLOY / "secrets" / ".gitignore").read_text().split("\n")[1] == "*"


def contents(folder: Path) -> Mapping[str, bytes]:
    subprocess.run([folder / "secrets.sh"], check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in (folder / "secrets").iterdir()}


def test_the_timer_starts_a_unit_that_is_there() -> None:
    assert (DEPLOY / "rec-retrain.timer").with_suffix(".service").exists()
    assert "OnCalendar=" in (DEPLOY / "rec-retrain.timer").read_text()
