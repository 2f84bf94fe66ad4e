"""What a store is worth beside FAISS: recall and time of the same questions."""

from collections.abc import Iterator
from typing import NamedTuple

from index.kinds import Kind, SearchParameters
from index.search import Index
from index.tuning import WIDTHS, Questions, halves, recall, timed
from index.vectors import Ids


class StoreTrial(NamedTuple):
    """What one engine is worth with some search parameters."""

    engine: str
    kind: Kind
    parameters: SearchParameters
    recall: float  # share of the exact results found
    least: float  # the lower of one half's lower bound and the other half's recall
    milliseconds: float  # median of one query alone, as this process waits for it

    def as_dict(self) -> dict[str, object]:
        """Return the trial as a row of a table; search parameters without effect are None."""
        return {
            "engine": self.engine,
            "kind": self.kind,
            "ef": self.parameters.ef if self.kind is Kind.HNSW else None,
            "recall": round(self.recall, 4),
            "recall_at_least": round(self.least, 4),
            "milliseconds": round(self.milliseconds, 4),
        }


def trials(
    engine: str, index: Index, questions: Questions, truth: Ids, target: float
) -> Iterator[StoreTrial]:
    """Yield trials with larger and larger parameters, until both halves of questions find enough.

    Args:
        engine: Name of what answers.
        index: An exact index, or a graph, with any search parameters.
        questions: Questions to measure with.
        truth: Exact results of the questions, `(Q, K)`.
        target: Recall to reach, from 0 to 1.
    """
    widths = WIDTHS if index.kind is Kind.HNSW else WIDTHS[:1]
    for ef in widths:
        parameters = SearchParameters(ef=ef)
        found, milliseconds = timed(index.with_parameters(parameters), questions)
        least = halves(found.ids, truth).least
        found_share = recall(found.ids, truth)
        yield StoreTrial(engine, index.kind, parameters, found_share, least, milliseconds)
        if least >= target:
            return
