"""What one system scored in an evaluation."""

from dataclasses import dataclass

from retrieval.evaluation.metrics import Metric
from retrieval.pairs.when import When

# How lists are asked for, in the names of systems.
WAYS = {
    When.COMING_BACK: "time not known",
    When.IN_SITTING: "in the sitting",
    When.AT: "time known",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one system scored on one set of questions."""

    system: str
    questions: str
    count: int
    metrics: dict[str, Metric]
    note: str = ""  # a sentence on what was asked otherwise than usual
