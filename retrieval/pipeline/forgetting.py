"""A user forgotten: a new version of a run in which nothing of one user is left."""

from pathlib import Path

import numpy as np

from index.arrays import load_array
from index.store import save_index
from retrieval.data.history import Histories
from retrieval.data.vocabulary import UNKNOWN, Id
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pipeline.indexing import carry_over, index_of
from retrieval.run.folder import HISTORY, TRAINED_USERS, USER_CODES, USERS, Run, open_run
from retrieval.run.manifest import INDEX, model_of, seal, write_sums
from retrieval.run.versions import current, writing
from retrieval.serving.arguments import checked_id
from retrieval.serving.users import unknown_users
from retrieval.storage.files import new_file


def events_of_user(run: Run, user: Id) -> slice:
    """Return where the events of a user are among those of a run.

    Raises:
        RequestError: There is no such user.
    """
    known = checked_id(user, "user", run.users)
    number = int(run.users.numbers(known))
    if number == UNKNOWN:
        raise unknown_users(run, [known])
    return slice(*run.histories.offsets[number : number + 2].tolist())


def forget_user(folder: Path, user: Id) -> int:
    """Write a version of a run without a user: no id, no event, no vector of the user is left.

    What all users together taught the towers of movies stays until the next training. The data of
    that training must not hold the user any more.

    Args:
        folder: Folder of the run.
        user: Id of the user.

    Returns:
        How many events were forgotten.

    Raises:
        RequestError: There is no such user.
        RunError: The run is missing or damaged, or somebody else is writing it.
    """
    current(folder)  # before anything is written beside what is no run
    with writing(folder) as writer:
        run = open_run(folder)
        events = events_of_user(run, user)
        number = int(run.users.numbers(checked_id(user, "user", run.users)))
        index, count = index_of(run), int(events.stop - events.start)
        with writer.new_version() as partial:
            carry_over(run.folder, partial, run.sums)
            for part in run.config.parts:
                saved = TOWER_PAIRS[part.name].saved(run.folder, run.facts(part))
                saved.forget_user(number, events, partial)
            for name in (USERS, USER_CODES, TRAINED_USERS):
                _without(partial / name, number)
            for name in Histories._fields[1:]:
                _without(partial / HISTORY.format(name), events)
            _shorten_offsets(partial / HISTORY.format(Histories._fields[0]), number, events)
            sums = seal(partial)
            if index is not None:
                (partial / INDEX).mkdir()
                save_index(partial / INDEX, index, model_of(sums))
                write_sums(partial, sums)
    return count


def _without(path: Path, rows: int | slice) -> None:
    """Write an array anew without some rows; other versions may share its file."""
    _replace(path, np.delete(load_array(path), rows, axis=0))


def _shorten_offsets(path: Path, number: int, events: slice) -> None:
    offsets = np.delete(load_array(path), number)
    offsets[number:] -= events.stop - events.start
    _replace(path, offsets)


def _replace(path: Path, array: np.ndarray) -> None:
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, array)
