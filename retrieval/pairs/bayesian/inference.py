"""The Bayesian pair inferred: burn-in watched on validation rows, then draws from all rows."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.dataset import Dataset
from retrieval.data.metrics import root_mean_square
from retrieval.pairs.bayesian.checkpoint import BurnIn, Checkpoint, Draws
from retrieval.pairs.bayesian.compression import CompressedPosterior, compress_posterior
from retrieval.pairs.bayesian.expansion import expand_to_catalogue, fit_variances
from retrieval.pairs.bayesian.latents import expected_ratings, middle
from retrieval.pairs.bayesian.new_movies import UnratedPrior
from retrieval.pairs.bayesian.problem import ObservedRatings, Problem, arrange, observed_ratings
from retrieval.pairs.bayesian.sampler import Ratings, Sampler
from retrieval.pairs.bayesian.settings import BayesianSettings
from retrieval.pairs.bayesian.tower import Bayesian
from retrieval.progress import SILENT, Progress
from retrieval.storage.arrays import fingerprint

Floats = NDArray[np.float64]

# Sweeps that are averaged to see whether the chain still finds better places, and how many draws
# are kept of them. What the first half of the windows says is forgotten.
WINDOW, KEPT = 20, 5

# Windows without a gain that end the burn-in: one may be bad luck.
PATIENCE = 2

# Sweeps between the last look at validation rows, which then count too, and the first draw.
SETTLING = 5

# Of checkpoints; a new one where the sampler is no longer the same.
FORMAT = 7

# Stages that are shown.
PREPARING, BURNING_IN, DRAWING, COMPRESSING = (
    f"Bayesian pair: {what}" for what in ("features", "burning in", "draws", "compressing draws")
)

# Draws between two states that an interruption can go back to.
SAVED = 10


class Inferred(NamedTuple):
    """What inference came to."""

    pair: Bayesian
    unrated: UnratedPrior  # of movies that it does not know
    early: Bayesian  # as it was before it saw the rows held out
    effects: NDArray[np.float32]  # (2, N) slow and quick session effects, in the order of histories
    thresholds: Floats  # (T,) likewise, before it saw them
    values: tuple[float, ...]  # (T + 1,) ratings of the classes that occur
    classes: NDArray[np.int8]  # (N,) of all rows, in file order
    scores: Floats  # (N,) of validation rows, in file order, by a chain that had not seen them
    noise: float  # the mean variance of their latent values around scores
    errors: list[float]  # on validation rows, of each window of the burn-in
    sweeps: int
    disagreement: float  # root mean square difference of stored and folded-in scores


def infer(
    dataset: Dataset,
    content: NDArray[np.float32],
    validation: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    settings: BayesianSettings,
    seed: int,
    checkpoint: Path,
    progress: Progress = SILENT,
) -> Inferred:
    """Infer the Bayesian pair, the same for the same seed, in one go or in several.

    Args:
        dataset: All rows.
        content: `(M, F)` features of the movies.
        validation: `(N,)` mask of rows that end the burn-in, all of them held out.
        held_out: `(N,)` mask of rows not seen in the burn-in; after it they count as others.
        settings: Size of the pair, and how much to spend.
        seed: Seed of everything random.
        checkpoint: Folder where an interrupted inference is kept; the caller removes it.
        progress: Who shows how far it is.
    """
    problem = arrange(dataset, content)
    order = problem.order
    whole = observed_ratings(problem, np.ones_like(held_out))
    kept = Checkpoint(checkpoint, _key(dataset, content, validation, held_out, settings, seed))
    progress.stage(PREPARING)
    asked = validation[order]
    chain = _Chain(
        # Whose ratings are in memory until others count too.
        observed_ratings(problem, ~held_out[order]).sampler(
            settings.dimension, np.random.default_rng(seed)
        ),
        problem,
        whole,
        settings,
        kept,
        progress,
    )
    burned, sweeps = chain.run(asked), chain.sampler.sweeps
    effects = chain.sampler.mean_effects[:, problem.ratings.groups]
    del chain  # which holds the features
    training = observed_ratings(problem, ~held_out[order])
    progress.stage(COMPRESSING)
    windows = len(burned.errors)
    draws = kept.draws(KEPT * (windows // 2), KEPT * windows)
    early = _compress(draws, training, settings, seed)
    draws = kept.draws(KEPT * windows, KEPT * windows + settings.draws)
    compressed = _compress(draws, whole, settings, seed)
    expanded = expand_to_catalogue(whole, compressed)
    pair, disagreement = fit_variances(expanded.pair, whole, compressed)
    ratings = problem.ratings
    scores, classes = np.zeros(len(ratings)), np.empty_like(ratings.classes)
    scores[order[asked]] = burned.scores[windows // 2 :].mean(axis=0)
    classes[order] = ratings.classes
    return Inferred(
        pair=pair,
        unrated=expanded.unrated,
        early=expand_to_catalogue(training, early).pair,
        effects=effects,
        thresholds=early.thresholds,
        values=tuple(problem.values.tolist()),
        classes=classes,
        scores=scores,
        noise=_usual_noise(pair, problem, ratings.part(asked) if asked.any() else ratings),
        errors=burned.errors,
        sweeps=sweeps,
        disagreement=disagreement,
    )


class _Chain(NamedTuple):
    """The sampler at work, and where it tells how far it is."""

    sampler: Sampler
    problem: Problem
    whole: ObservedRatings
    settings: BayesianSettings
    kept: Checkpoint
    progress: Progress

    def run(self, validation: NDArray[np.bool_]) -> BurnIn:
        """Burn in, then keep draws, from where the checkpoint was left.

        Args:
            validation: `(N,)` mask of the rows that are looked at, in the order of histories.
        """
        sampler, settings, kept = self.sampler, self.settings, self.kept
        left = kept.load()
        burned = BurnIn([], np.zeros((0, validation.sum()))) if left is None else left[1]
        draws = SETTLING + settings.spacing * settings.draws
        if not _goes_on(burned.errors, settings):
            self._see_all()
        if left is not None:
            sampler.restore(left[0])
        self.progress.stage(BURNING_IN, WINDOW * settings.burn_in_windows)
        self.progress.advance(min(sampler.sweeps, WINDOW * len(burned.errors)))
        while _goes_on(burned.errors, settings):
            error, scores = self._window(self.problem.ratings.part(validation))
            burned = BurnIn([*burned.errors, error], np.vstack([burned.scores, scores]))
            self.progress.say(f"validation RMSE {error:.4f}")
            if not _goes_on(burned.errors, settings):
                self._see_all()
            kept.save(sampler.state(), burned)
        begun = WINDOW * len(burned.errors)
        self.progress.stage(DRAWING, draws)
        self.progress.advance(sampler.sweeps - begun)
        while sampler.sweeps < begun + draws:
            self._sweep()
            since = sampler.sweeps - begun - SETTLING
            if since > 0 and since % settings.spacing == 0:
                kept.keep(sampler.draw())
                sampler.average_effects()
                number = since // settings.spacing
                self.progress.say(f"{number} of {settings.draws}")
                if number % SAVED == 0:
                    kept.save(sampler.state(), burned)
        return burned

    def _window(self, asked: Ratings) -> tuple[float, Floats]:
        """Make the sweeps of a window; return its error on V ratings, and their mean scores."""
        sampler, values = self.sampler, self.problem.values
        scores, predicted = np.zeros(len(asked)), np.zeros(len(asked))
        for _ in range(WINDOW):
            self._sweep()
            if sampler.sweeps % (WINDOW // KEPT) == 0:
                self.kept.keep(sampler.draw())
            score = sampler.scores(asked).astype(np.float64)
            weights = sampler.noise_precision[asked.movies]
            predicted += expected_ratings(score, sampler.thresholds, weights, values)
            scores += score - middle(sampler.thresholds)
        errors = predicted / WINDOW - values[asked.classes]
        return root_mean_square(errors), scores / WINDOW

    def _see_all(self) -> None:
        self.sampler.observe(self.whole.ratings, self.whole.regressions)

    def _sweep(self) -> None:
        self.sampler.sweep()
        self.progress.advance()


def _goes_on(errors: list[float], settings: BayesianSettings) -> bool:
    """Whether the burn-in goes on: one of the last windows was better than all before."""
    if len(errors) <= PATIENCE:
        return len(errors) < settings.burn_in_windows
    gain = min(errors[:-PATIENCE]) - min(errors[-PATIENCE:])
    return len(errors) < settings.burn_in_windows and gain > settings.tolerance


def _usual_noise(pair: Bayesian, problem: Problem, asked: Ratings) -> float:
    """Return the mean variance of latent values around the scores of ratings."""
    variances = (
        pair.user_variances[problem.users[asked.users]].astype(np.float64)
        + pair.movie_variances[problem.movies[asked.movies]]
        + pair.session_law[1:].sum()
    )
    return float(variances.mean())


def _compress(
    draws: Draws, observed: ObservedRatings, settings: BayesianSettings, seed: int
) -> CompressedPosterior:
    return compress_posterior(
        draws, *observed.counts(), settings.compressed, np.random.default_rng(seed)
    )


def _key(
    dataset: Dataset,
    content: NDArray[np.float32],
    validation: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    settings: BayesianSettings,
    seed: int,
) -> str:
    """Return a hash of all that the chain follows from."""
    fixed = (FORMAT, WINDOW, KEPT, PATIENCE, SETTLING, dataset.scale, dataset.user_attributes.sizes)
    facts = (sorted(settings.model_dump().items()), seed, content.shape, fixed)
    arrays = (
        validation,
        held_out,
        dataset.users,
        dataset.movies,
        dataset.ratings,
        dataset.timestamps,
        dataset.user_codes,
        content,
    )
    return fingerprint(facts, arrays)
