"""A user forgotten: a run in which nothing of one user is left, in no version of it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from index.arrays import load_array
from retrieval.data.history import Histories
from retrieval.data.vocabulary import UNKNOWN, Id
from retrieval.errors import RequestError, RunError
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pipeline.indexing import changed_kept_version, changed_version
from retrieval.run.folder import (
    HISTORY,
    TRAINED_USERS,
    USER_CODES,
    USERS,
    Run,
    open_run,
    open_version,
)
from retrieval.run.promotion import kept_versions
from retrieval.run.versions import RETRAINING, current, kept, name_of, writing
from retrieval.serving.arguments import checked_id
from retrieval.serving.users import known_number
from retrieval.storage.arrays import replace_array, without_rows
from retrieval.storage.files import remove


def events_of(run: Run, number: int) -> slice:
    """Return where the events of a user, given by number, are among those of a run."""
    return slice(*run.histories.offsets[number : number + 2].tolist())


def holder_of(folder: Path, user: Id) -> tuple[Run, int]:
    """Return the version of a run that knows a user, and the number of the user in it.

    It is the one that answers, if it does; else one that is kept.

    Raises:
        RequestError: No version knows such a user.
        RunError: The run is missing or damaged.
    """
    run = open_run(folder)
    for version in (run, *kept_versions(folder)):
        if (number := _number(version, user)) != UNKNOWN:
            return version, number
    return run, known_number(run, user)  # which says what is wrong


def forget_user(folder: Path, user: Id) -> int:
    """Write every version of a run without a user: no id, no event, no vector of the user is left.

    Versions that are kept are written anew too, and those that cannot be opened are removed; so is
    what an interrupted training left, whose checkpoints hold the user. What all users together
    taught the towers of movies stays until the next training. The data of that training must not
    hold the user any more.

    Args:
        folder: Folder of the run.
        user: Id of the user.

    Returns:
        How many events were forgotten, in the version that answers or else in one that is kept.

    Raises:
        RequestError: No version knows such a user.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    current(folder)  # before anything is written beside what is no run
    holder, number = holder_of(folder, user)
    events = events_of(holder, number)
    forget_where(folder, lambda run: [user] if _number(run, user) != UNKNOWN else [])
    return int(events.stop - events.start)


def forget_where(folder: Path, gone: Callable[[Run], Iterable[Id]]) -> None:
    """Write each version of a run without the users whom it is to forget; see `forget_user`.

    Args:
        folder: Folder of the run.
        gone: Gives the users whom a version is to forget, all of them known to it.

    Raises:
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    with writing(folder) as writer:
        remove(writer.checkpoint)
        remove(folder / RETRAINING)
        for name in kept(folder).names:
            try:
                run = open_version(folder / name, folder)
            except RunError:
                writer.drop(name)
                continue
            for user in gone(run):
                with changed_kept_version(writer, run) as partial:
                    _forget(run, user, partial)
                run = open_version(folder / name_of(partial), folder)
        # Last of all, so that the same command ends what one that was killed began.
        run = open_run(folder)
        for user in gone(run):
            with changed_version(writer, run) as partial:
                _forget(run, user, partial)
            run = open_run(folder)


def _number(run: Run, user: Id) -> int:
    """Return the number of a user, `UNKNOWN` for one whom a version does not know."""
    try:
        return int(run.users.numbers(checked_id(user, "user", run.users)))
    except RequestError:  # an id of another kind than those of the version
        return UNKNOWN


def _forget(run: Run, user: Id, partial: Path) -> None:
    """Take a user out of the files of a version, which are those of the run."""
    number = known_number(run, user)
    events = events_of(run, number)
    for part in run.config.parts:
        saved = TOWER_PAIRS[part.name].saved(run.folder, run.facts(part))
        saved.forget_user(number, events, partial)
    for name in (USERS, USER_CODES, TRAINED_USERS):
        without_rows(partial / name, number)
    for name in Histories._fields[1:]:
        without_rows(partial / HISTORY.format(name), events)
    _shorten_offsets(partial / HISTORY.format(Histories._fields[0]), number, events)


def _shorten_offsets(path: Path, number: int, events: slice) -> None:
    offsets = np.delete(load_array(path), number)
    offsets[number:] -= events.stop - events.start
    replace_array(path, offsets)
