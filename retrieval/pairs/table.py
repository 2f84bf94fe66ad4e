"""The pairs there are, as training needs them; `towers` has them for queries."""

from typing import Any

from retrieval.pairs.bayesian import tower as bayesian
from retrieval.pairs.bayesian.pair import BayesianTowers
from retrieval.pairs.neural import files as neural
from retrieval.pairs.neural.pair import NeuralTowers
from retrieval.pairs.notebook import tower as notebook
from retrieval.pairs.notebook.pair import NotebookTowers
from retrieval.pairs.sequence import files as sequence
from retrieval.pairs.sequence.pair import SequenceTowers
from retrieval.pairs.training import TowerPair

TOWER_PAIRS: dict[str, TowerPair[Any]] = {
    neural.NAME: NeuralTowers(),
    notebook.NAME: NotebookTowers(),
    bayesian.NAME: BayesianTowers(),
    sequence.NAME: SequenceTowers(),
}
