"""What training came to, and how a run says it: the model card for people, metrics for programs."""

import json
from dataclasses import dataclass, field

from retrieval.blending.ranking import Choice
from retrieval.data.dataset import Dataset
from retrieval.data.metrics import Calibrated
from retrieval.run.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training came to."""

    seconds: float
    validation_rows: int
    validation_error: float | None  # root mean square, of the ratings that the run answers with
    validation_errors: dict[str, float]  # the same of each pair and of their blend
    validation_ndcg: float | None  # @10 of last events, the time of asking known
    calibration: list[Calibrated]  # of the ratings that the run answers with
    ranking: Choice | None  # of lists, where a pair ranks
    metrics: dict[str, object] = field(repr=False)  # of each pair, by its name


def measured(trained: Trained) -> str:
    """Return `metrics.json`."""
    error, ndcg, ranking = trained.validation_error, trained.validation_ndcg, trained.ranking
    errors = trained.validation_errors
    metrics: dict[str, object] = {
        "schema": 1,
        "protocol": "random rows of the data, held out to choose epochs, burn-in and weights",
        "validation_rows": trained.validation_rows,
        "validation_rmse": _rounded(error),
        "validation_rmse_of": {name: round(each, 4) for name, each in errors.items()},
        "validation_ndcg": _rounded(ndcg),
        "validation_visits": 0 if ranking is None else ranking.visits,
        "validation_visit_ndcg": None if ranking is None else _rounded(ranking.visit_ndcg),
        "validation_coverage": None if ranking is None else _rounded(ranking.coverage),
        "calibration": [
            {
                "predicted": round(group.predicted, 3),
                "true": round(group.true, 3),
                "ratings": group.ratings,
            }
            for group in trained.calibration
        ],
        "pairs": trained.metrics,
    }
    if ranking is not None:
        metrics["ndcg_by_weight_of_rating"] = [
            {"weight": str(gain.weight), "liked": round(gain.liked, 4), "all": round(gain.all, 4)}
            for gain in ranking.gains
        ]
    return json.dumps(metrics, indent=2) + "\n"


def model_card(config: RunConfig, dataset: Dataset, trained: Trained) -> str:
    """Return the model card as Markdown.

    Args:
        config: What the run was made of.
        dataset: All ratings.
        trained: What training came to.
    """
    rows, error = trained.validation_rows, trained.validation_error
    rating = "It predicts no ratings."
    quality = ""
    if config.layout.rating:
        rating = "A rating is `clip(offset + user vector . movie vector)`."
        quality = "There were too few ratings to hold any out, so nobody knows how good it is.\n\n"
    if config.link is not None:
        rating = (
            "A rating is `link(offset + user vector . movie vector)`, the link in `config.json`."
        )
    if error is not None:
        quality = (
            f"Root mean square error {error:.4f} on {rows:,} random ratings held out.\n"
            "They chose epochs, burn-in and weights, so expect a little more on ratings never "
            "looked at.\n\n"
        )
    return f"""# A two-tower movie model

Trained on {config.data}: {len(dataset.ratings):,} ratings from {config.scale.lowest:g} to
{config.scale.highest:g} by {len(dataset.user_vocabulary):,} users, in a catalogue of
{len(dataset.movie_vocabulary):,} movies. Tower pairs: {", ".join(config.layout.names)}. Preset
`{config.preset}`, seed {config.seed}, {config.training_seconds:.0f} s on {config.created[:10]}.

{quality}{rating} `MANIFEST.json` holds the sha256 of every file.
"""


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
