"""What trains on real data: marked slow, skipped where MovieLens is absent."""

import json
from pathlib import Path

import pytest

from retrieval.data import columns
from retrieval.data.layouts import read_folder
from retrieval.evaluation.protocols import evaluate
from retrieval.evaluation.questions import LaterProtocol
from retrieval.evaluation.result import Result
from retrieval.evaluation.temporal import cut_at, evaluate_later
from retrieval.options import Preset, Split, Target
from retrieval.pipeline.settings import preset_settings
from retrieval.run.versions import current

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"

pytestmark = pytest.mark.slow


def folder(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not here")
    return SHARED / name


RATING = ("neural", "bayesian")


def scored(
    name: str, split: Split, run: Path, pairs: tuple[str, ...] = RATING
) -> dict[str, list[Result]]:
    data = read_folder(folder(name))
    results = evaluate(data, name, split, preset_settings(Preset.QUICK, pairs), 1, run)
    systems: dict[str, list[Result]] = {}
    for result in results:
        systems.setdefault(result.system, []).append(result)
    return systems


@pytest.mark.parametrize(
    ("name", "ratings", "movies", "users"),
    [
        ("ml-1m", 1_000_209, 3_883, 6_040),
        ("ml-100k", 100_000, 1_682, 943),
        ("ml-latest-small", 100_836, 9_742, 0),
    ],
)
def test_published_data_sets_are_read_whole(
    name: str, ratings: int, movies: int, users: int
) -> None:
    data = read_folder(folder(name))
    assert (len(data.ratings), len(data.movies), len(data.users)) == (ratings, movies, users)


def test_quick_ratings_of_ml_100k_beat_biases_clearly(tmp_path: Path) -> None:
    systems = scored("ml-100k", Split.RATING, tmp_path / "run")
    ours, biases = (
        systems[system][0].metrics["rmse"].value
        for system in ("two towers", "user mean + movie bias")
    )
    assert ours < biases - 0.04
    assert ours < 0.89


def test_new_users_of_ml_100k_are_served_better_than_by_biases(tmp_path: Path) -> None:
    # 94 users, a few of them far from everyone, are too few to compare with a movie's mean.
    systems = scored("ml-100k", Split.NEW_USERS, tmp_path / "run")
    for ours, biases in zip(systems["two towers"], systems["user mean + movie bias"], strict=True):
        assert ours.metrics["rmse"].value < biases.metrics["rmse"].value


def test_new_users_of_ml_1m_are_served_better_the_more_they_tell(tmp_path: Path) -> None:
    systems = scored("ml-1m", Split.NEW_USERS, tmp_path / "run")
    errors = [result.metrics["rmse"].value for result in systems["two towers"]]
    assert errors[0] < systems["movie mean"][0].metrics["rmse"].value
    assert errors == sorted(errors, reverse=True)


def test_quick_ratings_of_ml_1m_reach_what_the_figures_say(tmp_path: Path) -> None:
    systems = scored("ml-1m", Split.RATING, tmp_path / "run")
    assert systems["two towers"][0].metrics["rmse"].value < 0.825
    metrics = json.loads((current(tmp_path / "run") / "metrics.json").read_text())
    assert metrics["pairs"]["bayesian"]["folded_in_against_stored"] < 0.25


def test_next_movies_of_ml_100k_are_found_better_than_by_popularity(tmp_path: Path) -> None:
    systems = scored("ml-100k", Split.LEAVE_ONE, tmp_path / "run", ("sequence",))
    known, unknown, popular = (
        systems[system][0].metrics["hr@10"].value
        for system in (
            "two towers by watch, time known",
            "two towers by watch, in the sitting",
            "popularity",
        )
    )
    assert known > 2 * popular
    assert unknown > 1.5 * popular


def test_lists_for_the_next_visit_to_ml_1m_beat_what_was_popular(tmp_path: Path) -> None:
    data = read_folder(folder("ml-1m"))
    cut = cut_at(data.ratings[columns.TIMESTAMP].to_numpy(), 0.7)
    settings = preset_settings(Preset.QUICK, ("sequence",))
    results = evaluate_later(
        data, "ml-1m", LaterProtocol(cut, Target.VISIT), settings, 1, tmp_path / "run"
    )
    found = {result.system: result.metrics for result in results}
    ours = found["two towers by watch, time not known"]
    popular = [metrics for system, metrics in found.items() if system.startswith("popular")]
    assert len(popular) == 4
    for name in ("hr@10", "ndcg@10", "liked ndcg@10"):
        assert ours[name].value > 1.1 * max(metrics[name].value for metrics in popular), name
