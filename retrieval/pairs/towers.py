"""The pairs there are, as queries need them: no torch is imported."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from retrieval.pairs.bayesian import tower as bayesian
from retrieval.pairs.neural import tower as neural
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.protocol import RunFacts, UserTower
from retrieval.pairs.sequence import tower as sequence


class QuerySide(NamedTuple):
    """How a run answers with one pair."""

    files: tuple[str, ...]  # in the folder of a version, beside what every run has
    open_tower: Callable[[Path, RunFacts], UserTower]


# In the order in which their vectors are joined.
PAIRS: dict[str, QuerySide] = {
    neural.NAME: QuerySide(neural.FILES, neural.open_tower),
    notebook.NAME: QuerySide(notebook.FILES, notebook.open_tower),
    bayesian.NAME: QuerySide(bayesian.FILES, bayesian.open_tower),
    sequence.NAME: QuerySide(sequence.FILES, sequence.open_tower),
}
