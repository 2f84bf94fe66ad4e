"""The versions that a run keeps: what each is, and which of them answers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.arrays import load_array
from index.store import read_card
from retrieval.data.metrics import Calibrated
from retrieval.errors import RunError, unknown
from retrieval.run.config import read_config
from retrieval.run.folder import HISTORY, METRICS, USERS, Run, open_index, open_version
from retrieval.run.listing import WHOLE, version_state
from retrieval.run.manifest import INDEX
from retrieval.run.versions import current, kept, writing
from retrieval.storage.arrays import mapped_array
from retrieval.storage.damage import DAMAGE


@dataclass(frozen=True, kw_only=True)
class VersionSummary:
    """One version of a run.

    Args:
        name: Its name.
        answering: Whether it answers.
        answered: Whether it answered before, and `rollback` may come back to it.
        state: `listing.WHOLE`, or what is the matter with it.
        created: When it was trained, ISO 8601; None where it cannot be read, likewise below.
        preset: Preset of its training.
        data: What it was trained on.
        validation_rmse: Error on ratings held out in its training.
        validation_ndcg: NDCG@10 of last events held out in its training.
        validation_visits: How many next visits of users were held out in its training.
        validation_visit_ndcg: NDCG@10 of what was liked in these visits.
        validation_coverage: Share of the movies in lists of ten for these visits.
        calibration: Predicted and true ratings held out in its training, the lowest first.
        events: How many events it stores.
        users: How many users.
        movies: How many movies its index holds.
    """

    name: str
    answering: bool
    answered: bool
    state: str
    created: str | None = None
    preset: str | None = None
    data: str | None = None
    validation_rmse: float | None = None
    validation_ndcg: float | None = None
    validation_visits: int | None = None
    validation_visit_ndcg: float | None = None
    validation_coverage: float | None = None
    calibration: tuple[Calibrated, ...] = ()
    events: int | None = None
    users: int | None = None
    movies: int | None = None

    @property
    def promotable(self) -> bool:
        """Whether it can be promoted: it is whole, and does not answer yet."""
        return self.state == WHOLE and not self.answering


def versions(folder: Path) -> list[VersionSummary]:
    """Return the versions of a run, the newest first, be they damaged.

    Raises:
        RunError: The folder holds no run.
    """
    answering, beside = current(folder).name, kept(folder)
    return [
        _summary(folder / name, answering=name == answering, answered=name in beside.before)
        for name in sorted((answering, *beside.names), reverse=True)
    ]


def kept_versions(folder: Path) -> list[Run]:
    """Return the versions that a run keeps beside the one that answers and that can be opened."""
    found = []
    for name in kept(folder).names:
        with suppress(RunError):
            found.append(open_version(folder / name, folder))
    return found


def promote(folder: Path, name: str, keep: int | None = None) -> None:
    """Let a version answer that the run keeps; the one that answered is kept.

    Args:
        folder: Folder of the run.
        name: Name of the version; the one that answers already may be named.
        keep: Number of versions that answered before which are kept; None is all that there are.

    Raises:
        RequestError: The run keeps no such version.
        RunError: The version cannot answer, or somebody else is writing the run.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        names = (current(folder).name, *kept(folder).names)
        if name not in names:
            raise unknown(f"version of {folder}", name, names)
        if name != names[0]:
            _check(folder, name)
            writer.promote(name)
            if keep is not None:
                writer.keep_last(keep)


def rollback(folder: Path) -> str:
    """Let the version answer that answered before; the one that answered can be promoted again.

    Args:
        folder: Folder of the run.

    Returns:
        The name of the version.

    Raises:
        RunError: No version that answered before is kept, or it cannot answer, or somebody else is
            writing the run.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        before = kept(folder).before
        if not before:
            raise RunError(
                f"{folder} keeps no version that answered before; rec runs versions lists what "
                "can be promoted"
            )
        _check(folder, before[0])
        writer.roll_back(before[0])
    return before[0]


@contextmanager
def or_as_before(folder: Path) -> Iterator[None]:
    """Go back to the version that answers now where the block ends with an error.

    Raises:
        RunError: The folder holds no run, or somebody else is writing it when it goes back.
    """
    name, before = current(folder).name, kept(folder).before
    try:
        yield
    except Exception:
        if current(folder).name != name:
            with writing(folder) as writer:
                writer.go_back(name, before)
        raise


def _check(folder: Path, name: str) -> None:
    """Raise a `RunError` if a version is not whole, or has no index."""
    open_index(open_version(folder / name, folder))


def _summary(version: Path, *, answering: bool, answered: bool) -> VersionSummary:
    state = version_state(version)
    if state != WHOLE:
        return VersionSummary(
            name=version.name, answering=answering, answered=answered, state=state
        )
    try:
        config = read_config(version)
        metrics = json.loads((version / METRICS).read_text(encoding="utf-8"))
        return VersionSummary(
            name=version.name,
            answering=answering,
            answered=answered,
            state=state,
            created=config.created,
            preset=config.preset,
            data=config.data,
            validation_rmse=metrics["validation_rmse"],
            validation_ndcg=metrics["validation_ndcg"],
            validation_visits=metrics.get("validation_visits"),
            validation_visit_ndcg=metrics.get("validation_visit_ndcg"),
            validation_coverage=metrics.get("validation_coverage"),
            calibration=tuple(_calibrated(metrics)),
            events=len(mapped_array(version / HISTORY.format("movies"))),
            users=len(load_array(version / USERS)),
            movies=read_card(version / INDEX).count,
        )
    except (RunError, *DAMAGE) as error:
        damaged = f"damaged: {error}"
        return VersionSummary(
            name=version.name, answering=answering, answered=answered, state=damaged
        )


def _calibrated(metrics: dict[str, Any]) -> Iterator[Calibrated]:
    """Give the groups of ratings that a training wrote, if it wrote any."""
    for group in metrics.get("calibration", ()):
        yield Calibrated(group["predicted"], group["true"], group["ratings"])
