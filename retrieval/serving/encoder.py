"""The user half of one dot product: from people and their histories to query vectors.

Needs no torch: the towers are files that ONNX Runtime runs, and one that numpy solves.
"""

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Windows, whole_windows, windows_until
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError, RunError, shown
from retrieval.options import RankBy, Towers
from retrieval.pairs.bayesian.tower import (
    Bayesian,
    BayesianTower,
    Encoded,
    Questions,
    load_bayesian,
)
from retrieval.pairs.neural.inputs import user_inputs
from retrieval.pairs.onnx_tower import QueryTower, UserVectors
from retrieval.pairs.sequence.tokens import tokens
from retrieval.run.folder import (
    BAYESIAN,
    MOODS,
    SEQUENCE_TOWER,
    SEQUENCE_USERS,
    USER_TOWER,
    Run,
    mapped_array,
)
from retrieval.serving.stopwatch import Stopwatch
from retrieval.serving.users import Audience


class Encoder:
    """The user towers of one run, and how their scores are to be read.

    Args:
        run: The run.

    Raises:
        RunError: A file of the run is damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.stopwatch = run, Stopwatch()
        self._neural, self._bayesian, self._sequence = None, None, None
        if Towers.NEURAL in run.config.towers:
            self._neural = QueryTower(run.folder / USER_TOWER)
        if Towers.BAYESIAN in run.config.towers:
            self._bayesian = BayesianTower(
                _checked(load_bayesian(run.folder / BAYESIAN), run),
                mapped_array(run.folder / MOODS),
                run.histories,
                run.config.demographics.sizes(),
                run.config.scale,
            )
        if Towers.SEQUENCE in run.config.towers:
            self._sequence = QueryTower(run.folder / SEQUENCE_TOWER)
            self._sequence_users = mapped_array(run.folder / SEQUENCE_USERS)

    @property
    def rates(self) -> bool:
        """Whether a pair predicts ratings."""
        return self._neural is not None or self._bayesian is not None

    @property
    def rankings(self) -> tuple[RankBy, ...]:
        """What lists can be ranked by."""
        if self._sequence is None:
            return (RankBy.RATING,)
        return tuple(RankBy) if self.rates else (RankBy.WATCH,)

    def ranking(self, rank_by: RankBy | None) -> RankBy:
        """Return what lists are ranked by, asked for or, where it is None, chosen by validation.

        Raises:
            RequestError: The run's pairs cannot rank by this.
        """
        chosen = self.run.config.ranking
        if rank_by is None:
            rank_by = RankBy.RATING if chosen is None else chosen.rank_by
        try:
            wanted = RankBy(rank_by)
        except ValueError as error:
            raise RequestError(
                f"nothing ranks by '{shown(rank_by)}'; there are: {', '.join(self.rankings)}"
            ) from error
        if wanted not in self.rankings:
            raise RequestError(
                f"this run cannot rank by {wanted}, only by {' or '.join(self.rankings)}; "
                "train with --towers neural,bayesian,sequence"
            )
        return wanted

    def encode(
        self, audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
    ) -> Encoded:
        """Return the query vectors of Q questions about ratings.

        Each pair's part ends in the user's offset: movies without ratings take some of it away.

        Args:
            audience: The people.
            rows: `(Q,)` which of them each question is about.
            times: `(Q,)` seconds of asking; None is the time of each one's last event.
        """
        windows = _windows(audience, rows, times)
        blend, towers = self.run.config.blend, self.run.config.towers
        weights, offsets = blend.of(audience.settled[rows], windows.ends - windows.starts)
        vectors = []
        variances = np.zeros(len(rows), dtype=np.float32)
        self.stopwatch.lap("windows")
        if self._neural is not None:
            weight = weights[:, towers.index(Towers.NEURAL)]
            users = self._encode_neural(self._neural, audience, rows, windows)
            own = users.offsets.astype(np.float64) - blend.origin
            vectors.append(weight[:, None] * np.column_stack([users.vectors, own]))
            offsets = offsets + weight * own
            self.stopwatch.lap("neural tower")
        if self._bayesian is not None:
            weight = weights[:, towers.index(Towers.BAYESIAN)]
            answers = self._bayesian.encode(_questions(audience, rows, windows, times))
            vectors.append(weight[:, None] * np.column_stack([answers.vectors, answers.offsets]))
            offsets = offsets + weight * answers.offsets
            variances = answers.variances
            self.stopwatch.lap("Bayesian tower")
        if self._sequence is not None:  # which has no say in ratings
            vectors.append(np.zeros((len(rows), self.run.config.widths[-1])))
        return Encoded(np.hstack(vectors).astype(np.float32), offsets, variances)

    def queries(
        self,
        audience: Audience,
        rows: NDArray[np.int64],
        times: NDArray[np.int64] | None,
        rating: NDArray[np.float32],
        rank_by: RankBy | None,
    ) -> NDArray[np.float32]:
        """Return the vectors that rank the lists of Q questions, `(Q, D)`.

        Args:
            audience: The people.
            rows: `(Q,)` which of them each question is about.
            times: `(Q,)` seconds of asking; None is the time of each one's last event, not told to
                the sequence pair.
            rating: `(Q, D)` the vectors that rate, as `encode` returns them.
            rank_by: What to rank by; None is what validation chose.

        Raises:
            RequestError: The run's pairs cannot rank by this.
        """
        wanted, ranking = self.ranking(rank_by), self.run.config.ranking
        if self._sequence is None or ranking is None or wanted is RankBy.RATING:
            return rating
        weight = ranking.rating_weight if wanted is RankBy.BLEND else 0.0
        queries = np.float32(weight) * rating
        stored = audience.stored[rows]
        new = stored == UNKNOWN if times is None else np.ones(len(rows), dtype=bool)
        watch = self._sequence_users[stored]  # what the tower says of those of whom nothing is new
        if new.any():
            asking = rows[new]
            asked = tokens(
                audience.codes[asking],
                audience.histories,
                _windows(audience, asking, times),
                np.full(len(asking), times is not None),
                self.run.config.scale,
                ranking.history_length,
            )
            self.stopwatch.lap("tokens")
            watch[new] = self._sequence.encode_tokens(asked)
        queries[:, -self.run.config.widths[-1] :] = watch / ranking.temperature
        self.stopwatch.lap("sequence tower")
        return queries

    def carried(
        self, audience: Audience, vector: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """Return what each rating that one person told adds to the score of a movie, `(E,)`.

        Exactly, of the Bayesian pair, whose score is linear in them; None where there is none.

        Args:
            audience: The person, who is folded in, known or not.
            vector: `(D,)` of the movie.
        """
        if self._bayesian is None:
            return None
        rows = np.zeros(1, np.int64)
        windows = _windows(audience, rows, None)
        place = self.run.config.towers.index(Towers.BAYESIAN)
        shares = self.run.config.blend.of(audience.settled, windows.ends - windows.starts)
        edges = np.cumsum([0, *self.run.config.widths])
        part = vector[edges[place] : edges[place + 1]].astype(np.float64)
        # The last two are a bias and what the user's offset counts for beyond 1.
        direction = np.append(part[:-2], 1.0 + part[-1])
        asked = _questions(audience, rows, windows, None)
        weight = float(shares.weights[0, place])
        return weight * self._bayesian.carried(asked, direction)

    def ratings(
        self, offsets: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the ratings, of any shape, that offsets and inner products stand for."""
        link = self.run.config.link
        if link is None:
            return self.run.config.scale.clip(offsets + scores)
        return link.ratings(offsets + scores)

    def _encode_neural(
        self, tower: QueryTower, audience: Audience, rows: NDArray[np.int64], windows: Windows
    ) -> UserVectors:
        config = self.run.config
        return tower.encode(
            user_inputs(
                audience.users[rows],
                audience.codes[rows],
                audience.histories,
                windows,
                config.scale,
                config.centre,
                config.history_length,
            )
        )

    def noise(
        self, encoded: Encoded, which: NDArray[np.int64], movies: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the variances `(Q,)` of true ratings' latent values around scores, 1 the usual.

        Args:
            encoded: People.
            which: `(Q,)` which of them each question is about.
            movies: `(Q,)` ids.
        """
        usual = self.run.config.noise
        if self._bayesian is None or usual is None:
            return np.ones(len(movies))
        numbers = self.run.catalogue.vocabulary.numbers(movies)
        of_movies = self._bayesian.pair.movie_variances[numbers].astype(np.float64)
        return (encoded.variances[which] + of_movies) / usual

    def directions(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return movie vectors `(C, D)` without biases, each pair's part as long as it counts.

        Where a pair predicts ratings, it says what is similar; else the sequence pair does.
        """
        config = self.run.config
        parts = np.split(vectors.astype(np.float64), np.cumsum(config.widths)[:-1], axis=1)
        weights = [*config.blend.weights, *([0.0 if self.rates else 1.0] * bool(self._sequence))]
        joined = np.hstack([weight * part for weight, part in zip(weights, parts, strict=True)])
        return np.delete(joined, config.biases, axis=1)


def _checked(pair: Bayesian, run: Run) -> Bayesian:
    """Return a pair; raise a `RunError` if it is of other users, movies or ratings than the run."""
    facts = 1 + sum(run.config.demographics.sizes())
    trained = len(run.catalogue) - run.catalogue.added
    width = run.config.widths[run.config.towers.index(Towers.BAYESIAN)]
    fits = (
        pair.users.shape == (len(run.users), width - 1)
        and len(pair.movies) == len(run.catalogue)
        and pair.usual.shape[0] == facts
        and pair.user_coefficients.shape[0] == facts + trained
        and len(pair.level_latents) == run.config.scale.levels
    )
    if not fits:
        raise RunError(f"{run.folder / BAYESIAN} is of another run than the rest; train again")
    return pair


def _questions(
    audience: Audience,
    rows: NDArray[np.int64],
    windows: Windows,
    times: NDArray[np.int64] | None,
) -> Questions:
    """Return Q questions as the Bayesian tower is asked them."""
    return Questions(
        audience.stored[rows],
        audience.codes[rows],
        audience.histories,
        windows,
        times is not None,
    )


def _windows(
    audience: Audience, rows: NDArray[np.int64], times: NDArray[np.int64] | None
) -> Windows:
    """Return what Q questions may look at: what had happened when they are asked."""
    if times is None:
        return whole_windows(audience.histories, rows)
    return windows_until(audience.histories, rows, times)
