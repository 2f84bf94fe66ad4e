"""The user half of one dot product: from users and their histories to query vectors.

Needs no torch: a user tower is a file that ONNX Runtime runs, or one that numpy solves.
"""

from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import last_times, whole_windows, windows_until
from retrieval.data.vocabulary import UNKNOWN
from retrieval.errors import RequestError, shown
from retrieval.options import RankBy
from retrieval.pairs.content import Content
from retrieval.pairs.protocol import Questions, UserTower
from retrieval.pairs.towers import PAIRS
from retrieval.pairs.when import When, comes_back
from retrieval.run.folder import Run
from retrieval.serving.stopwatch import StageTimes, lap
from retrieval.serving.users import QueryUsers


def why_no_ratings(run: Run) -> str:
    """Return why a run predicts no ratings, or does not rank, and what to do."""
    if not run.config.scale.tells_taste:
        return "the events it learned from have no ratings that differ"
    return "train with --towers neural,bayesian,sequence"


class Encoded(NamedTuple):
    """Q encoded questions about ratings: a score is the offset plus a dot product."""

    vectors: NDArray[np.float32]  # (Q, D)
    offsets: NDArray[np.float64]  # (Q,)
    variances: NDArray[np.float32]  # (Q,) that uncertainty about the user adds to scores


class UserQuestions(NamedTuple):
    """Q questions, and how the pairs are weighed for their users."""

    questions: Questions
    as_known: NDArray[np.bool_]  # (Q,) whether the pairs are weighed as for a known user


class Encoder:
    """The user towers of one run, and how their scores are to be read.

    Args:
        run: The run.

    Raises:
        RunError: A file of the run is damaged.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.layout = run, run.config.layout
        # Variances that uncertainty about movies which the towers do not know adds to scores.
        self.further = np.zeros(0)
        self.towers = {
            part.name: PAIRS[part.name].open_tower(run.folder, run.facts(part))
            for part in self.layout.parts
        }

    def with_movies(self, run: Run, content: Content, variances: NDArray[np.float64]) -> "Encoder":
        """Return an encoder for a run with further movies, which its towers know by their content.

        Args:
            run: The run with them, at the end of its catalogue.
            content: Content of the A movies.
            variances: `(A,)` that uncertainty about each of them adds to scores.
        """
        encoder = self.with_variances(variances)
        encoder.run = run
        encoder.towers = {name: each.with_movies(content) for name, each in self.towers.items()}
        return encoder

    def with_variances(self, variances: NDArray[np.float64]) -> "Encoder":
        """Return the encoder with other variances `(A,)` of its further movies."""
        encoder = copy(self)
        encoder.further = variances
        return encoder

    def forget(self) -> None:
        """Keep nothing in memory of what was worked out of users."""
        for tower in self.towers.values():
            tower.forget()

    def tower(self, pair: str) -> UserTower:
        """Return the user tower of a pair of the run, by the name of the pair."""
        return self.towers[pair]

    @property
    def rates(self) -> bool:
        """Whether a pair predicts ratings."""
        return bool(self.layout.rating)

    @property
    def rankings(self) -> tuple[RankBy, ...]:
        """What lists can be ranked by."""
        if not self.layout.ranking:
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
                f"this run cannot rank by {wanted}, only by {' or '.join(self.rankings)}: "
                f"{why_no_ratings(self.run)}"
            )
        return wanted

    def encode(self, users: UserQuestions, timer: StageTimes | None = None) -> Encoded:
        """Return the query vectors of Q questions about ratings.

        Args:
            users: The questions.
            timer: Stage times of the request, if anybody measures.
        """
        blend, questions = self.run.config.blend, users.questions
        weights, offsets = blend.of(users.as_known, questions.windows.counts)
        variances = np.zeros(len(offsets), dtype=np.float32)
        lap(timer, "windows")
        vectors, own_offsets = [], []
        for place, (part, origin) in enumerate(zip(self.layout.rating, blend.origins, strict=True)):
            said = self.towers[part.name].encode(questions)
            weight, own = weights[:, place], said.offsets.astype(np.float64) - origin
            vectors.append(weight[:, None] * said.vectors)
            own_offsets.append(weight * own)
            offsets = offsets + weight * own
            variances = variances + said.variances
            lap(timer, f"{part.name} tower")
        joined = self.layout.join_users(len(offsets), vectors, own_offsets)
        return Encoded(joined, offsets, variances)

    def queries(
        self,
        users: UserQuestions,
        rating: NDArray[np.float32],
        rank_by: RankBy | None,
        timer: StageTimes | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors that rank the lists of Q questions, `(Q, D)`.

        Args:
            users: The questions.
            rating: Vectors that rate, `(Q, D)`, as `encode` returns them.
            rank_by: Score to rank by; None is what validation chose.
            timer: Stage times of the request, if anybody measures.

        Raises:
            RequestError: The run's pairs cannot rank by this.
        """
        wanted = self.ranking(rank_by)
        return self.queries_by(users, rating, (wanted,), timer)[wanted]

    def queries_by(
        self,
        users: UserQuestions,
        rating: NDArray[np.float32],
        rankings: Sequence[RankBy],
        timer: StageTimes | None = None,
    ) -> dict[RankBy, NDArray[np.float32]]:
        """Return the vectors that rank the lists of Q questions, `(Q, D)`, by each of some scores.

        Args:
            users: The questions.
            rating: Vectors that rate, `(Q, D)`, as `encode` returns them.
            rankings: Scores to rank by, of those in `rankings`.
            timer: Stage times of the request, if anybody measures.
        """
        ranking, said = self.run.config.ranking, []
        if ranking is None or set(rankings) == {RankBy.RATING}:
            return dict.fromkeys(rankings, rating)
        for part in self.layout.ranking:
            vectors = self.towers[part.name].encode(users.questions).vectors
            said.append((self.layout.columns(part), vectors / part.temperature))
            lap(timer, f"{part.name} tower")
        found: dict[RankBy, NDArray[np.float32]] = {}
        for wanted in rankings:
            if wanted is RankBy.RATING:
                found[wanted] = rating
                continue
            queries = np.zeros_like(rating)
            if wanted is RankBy.BLEND:
                back = self._come_back(users.questions)
                weights = np.where(back, ranking.rating_weight, ranking.sitting_weight)
                queries = weights[:, None].astype(np.float32) * rating
            for columns, vectors in said:
                queries[:, columns] += vectors
            found[wanted] = queries
        return found

    def _come_back(self, questions: Questions) -> NDArray[np.bool_]:
        """Return which questions are about another visit, `(Q,)`."""
        windows = questions.windows
        last = last_times(questions.histories, windows)
        return comes_back(questions.when, windows, last, self.run.config.present)

    def ratings(
        self, offsets: NDArray[np.float64], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the ratings, of any shape, that offsets and inner products stand for."""
        link = self.run.config.link
        if link is None:
            return self.run.config.scale.clip(offsets + scores)
        return link.ratings(offsets + scores)

    def noise(
        self, encoded: Encoded, which: NDArray[np.int64], movies: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the variances `(Q,)` of true ratings' latent values around scores, 1 the usual.

        Args:
            encoded: Encoded users.
            which: `(Q,)` which of them each question is about.
            movies: `(Q,)` numbers.
        """
        usual = self.run.config.noise
        if usual is None:
            return np.ones(len(movies))
        variances = encoded.variances[which].astype(np.float64)
        count = len(self.run.catalogue) - len(self.further)
        trained = movies < count
        for part in self.layout.rating:
            variances[trained] += self.towers[part.name].movie_variances(movies[trained])
        variances[~trained] += self.further[movies[~trained] - count]
        return variances / usual

    @property
    def taste(self) -> NDArray[np.float64]:
        """What each component of movie vectors counts for taste, `(D,)`; see `directions`."""
        return self.layout.taste(self.run.config.blend.weights)

    def directions(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return movie vectors `(C, T)` without biases, each pair's part as long as it counts.

        Where pairs predict ratings, they say what is similar; else those that rank do.
        """
        return self.layout.directions(vectors, self.run.config.blend.weights)


def questions_of(
    users: QueryUsers,
    rows: NDArray[np.int64],
    times: NDArray[np.int64] | None,
    *,
    in_sitting: bool = False,
) -> UserQuestions:
    """Return Q questions as user towers are asked them: with what had happened by then.

    Args:
        users: The users who are asked about.
        rows: `(Q,)` which of them each question is about.
        times: Seconds of asking, `(Q,)`; None is not known.
        in_sitting: Whether users are asked right after the last event where the time is not known,
            rather than before they come back.
    """
    if times is None:
        windows = whole_windows(users.histories, rows)
        when = When.IN_SITTING if in_sitting else When.COMING_BACK
    else:
        windows, when = windows_until(users.histories, rows, times), When.AT
    # Asked before all of that had happened, nobody has grown.
    happened = windows.counts >= users.settled[rows]
    questions = Questions(
        stored=users.stored[rows],
        grown=np.where(happened, users.grown[rows], UNKNOWN),
        trained=users.trained[rows],
        codes=users.codes[rows],
        histories=users.histories,
        windows=windows,
        when=when,
    )
    return UserQuestions(questions, users.as_known[rows] & happened)
