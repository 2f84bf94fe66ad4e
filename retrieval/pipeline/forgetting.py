"""A user forgotten: a new version of a run in which nothing of one user is left."""

from pathlib import Path

import numpy as np

from index.arrays import load_array
from retrieval.data.history import Histories
from retrieval.data.vocabulary import Id
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pipeline.indexing import changed_version
from retrieval.run.folder import HISTORY, TRAINED_USERS, USER_CODES, USERS, Run, open_run
from retrieval.run.versions import current, writing
from retrieval.serving.users import known_number
from retrieval.storage.arrays import replace_array


def events_of(run: Run, number: int) -> slice:
    """Return where the events of a user, given by number, are among those of a run."""
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
        number = known_number(run, user)
        events = events_of(run, number)
        with changed_version(writer, run) as partial:
            for part in run.config.parts:
                saved = TOWER_PAIRS[part.name].saved(run.folder, run.facts(part))
                saved.forget_user(number, events, partial)
            for name in (USERS, USER_CODES, TRAINED_USERS):
                _without(partial / name, number)
            for name in Histories._fields[1:]:
                _without(partial / HISTORY.format(name), events)
            _shorten_offsets(partial / HISTORY.format(Histories._fields[0]), number, events)
    return int(events.stop - events.start)


def _without(path: Path, rows: int | slice) -> None:
    """Write an array anew without some rows; other versions may share its file."""
    replace_array(path, np.delete(load_array(path), rows, axis=0))


def _shorten_offsets(path: Path, number: int, events: slice) -> None:
    offsets = np.delete(load_array(path), number)
    offsets[number:] -= events.stop - events.start
    replace_array(path, offsets)
