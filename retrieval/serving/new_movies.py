"""Movies that a run does not know: their vectors from facts, and what first ratings change.

Nothing of a run changes, and nothing that trains is imported. A movie that nobody has rated counts
as validation wants of unrated ones. With each rating the Bayesian pair knows more of it, and its
word takes over the weight of pairs that no rating tells anything.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.data import columns
from retrieval.data.attributes import (
    SEPARATOR,
    USUAL,
    Attribute,
    AttributeKind,
    Facts,
    cell_of,
)
from retrieval.data.scale import RatingScale
from retrieval.errors import CONTROLS, RequestError, shown, unknown
from retrieval.pairs.bayesian.new_movies import (
    PRIOR_FILE,
    UnratedPrior,
    fold_in_movie,
    load_unrated_prior,
    unrated_variance,
)
from retrieval.pairs.bayesian.tower import NAME, Bayesian, BayesianTower
from retrieval.pairs.content import Content, load_content
from retrieval.pairs.layout import Part, VectorLayout
from retrieval.pairs.protocol import UserVectors, Vectors
from retrieval.pairs.towers import PAIRS
from retrieval.run.folder import CONTENT, Run
from retrieval.serving.encoder import Encoder

_log = logging.getLogger(__name__)

YEARS = (1800, 2200)

UNPRINTABLE = re.compile(f"[{CONTROLS}]")

LONGEST = 1000  # letters of a title, a name or a category
LONGEST_PLOT = 10_000  # of any other text

# Ratings at which a movie is halfway from one that nobody has rated to one that training knew, and
# the most that the word of the Bayesian pair is multiplied by then. The first was chosen on cuts of
# new movies that no figure is from; it matters little between 2 and 5.
HALFWAY, MOST = 3.0, 2.0


def check_facts(run: Run, facts: object) -> None:
    """Refuse facts that a run cannot read of a movie.

    Args:
        run: The run.
        facts: `title`, and any of `year`, `genres`, `directors`, `actors` and the attributes of the
            run; lists are lists of texts, dates texts, what is None is not known.

    Raises:
        RequestError: A fact that does not fit, or a pair of the run that knows no new movies.
    """
    _check_pairs(run)
    if not isinstance(facts, Mapping):
        raise RequestError(f"the facts of a movie are '{shown(facts)}'; give a mapping with title")
    there = _attributes(run)
    for name in facts:
        if name not in there:
            raise unknown("fact of a movie", name, there)
    check_fact(there[columns.TITLE], facts.get(columns.TITLE))
    for name, value in facts.items():
        check_fact(there[name], value)


def content_of(run: Run, facts: Sequence[Facts]) -> Content:
    """Return the content of A movies.

    Facts that the run has no place for count as not known: they may have been told to another one.

    Args:
        run: The run.
        facts: Facts of each movie, as `check_facts` takes them.

    Raises:
        RunError: A file of the run is damaged.
    """
    there = _attributes(run)
    table = {name: [_cell(each, movie) for movie in facts] for name, each in there.items()}
    return load_content(run.folder / CONTENT).describe(table)


def content_vectors(run: Run, content: Content) -> Vectors:
    """Return what the pairs say of A movies by their content alone: joined vectors `(A, D)`.

    Args:
        run: The run.
        content: What `content_of` returned.

    Raises:
        RunError: A file of the run is damaged.
        RequestError: A pair of the run knows no new movies.
    """
    _check_pairs(run)
    parts = []
    for part in run.config.parts:
        new_vectors = PAIRS[part.name].new_movie_vectors
        if new_vectors is not None:
            parts.append(new_vectors(run.folder, run.facts(part), content))
    return run.config.layout.join_movies(parts)


def new_movie_vectors(run: Run, content: Content) -> Vectors:
    """Return the joined vectors `(A, D)` of movies that nobody has rated, as an index holds them.

    See `content_vectors` for the arguments and what is raised.
    """
    blend = run.config.blend
    return run.config.layout.as_unrated(
        content_vectors(run, content),
        blend.unrated_factors,
        blend.unrated_offset_factors,
        blend.unrated_shift,
    )


def new_movie_variance(run: Run) -> float:
    """Return the variance that uncertainty about an unrated movie, and noise, add to scores.

    Raises:
        RunError: A file of the run is damaged.
    """
    named = NAME in run.config.layout.names
    return unrated_variance(run.folder) if named else 0.0


class Moved(NamedTuple):
    """A movie after its first ratings."""

    vector: Vectors  # (D,) as an index holds it
    variance: float  # that uncertainty about the movie, and noise, add to scores


@dataclass(frozen=True, kw_only=True)
class MovieFolding:
    """Moves the vectors of new movies with their first ratings.

    Args:
        layout: Layout of joined vectors.
        blend: Blend of the pairs that rate.
        scale: Scale of the ratings.
        part: Part of the Bayesian pair.
        pair: That pair.
        prior: How far its vectors may be from what content says.
    """

    layout: VectorLayout
    blend: RatingBlend
    scale: RatingScale
    part: Part
    pair: Bayesian
    prior: UnratedPrior

    @classmethod
    def of(cls, run: Run, encoder: Encoder) -> "MovieFolding | None":
        """Open what a run needs for it; None where ratings can say nothing of new movies.

        Args:
            run: The run.
            encoder: Its user towers.

        Raises:
            RunError: A file of the run is damaged.
        """
        layout, path = run.config.layout, run.folder / PRIOR_FILE
        part = next((part for part in layout.rating if part.name == NAME), None)
        tower = None if part is None else encoder.tower(NAME)
        if part is None or not isinstance(tower, BayesianTower):
            return None
        if not path.is_file():
            _log.warning(
                "%s was trained by an older version: ratings of new movies count from the next "
                "training on",
                shown(run.home),
            )
            return None
        return cls(
            layout=layout,
            blend=run.config.blend,
            scale=run.config.scale,
            part=part,
            pair=tower.pair,
            prior=load_unrated_prior(path, part.width),
        )

    def moved(self, vector: Vectors, raters: UserVectors, ratings: NDArray[np.floating]) -> Moved:
        """Return a movie after N ratings; without any it is that of `new_movie_vectors`.

        Args:
            vector: `(D,)` what `content_vectors` says.
            raters: The N users who rated it, as the Bayesian user tower knows them.
            ratings: `(N,)` ratings that they gave.
        """
        own, joined = self.layout.columns(self.part), vector[None].copy()
        classes = self.scale.class_of(ratings)
        folded = fold_in_movie(self.pair, self.prior, vector[own], raters, classes)
        joined[0, own] = folded.vector
        share = HALFWAY / (len(ratings) + HALFWAY)
        weights = dict(zip(self.layout.rating, self.blend.weights, strict=True))
        weight, most = weights[self.part], sum(weights.values())
        whole = most / weight if weight * MOST > most else MOST
        rated = np.array([whole if part is self.part else 0.0 for part in weights])
        factors, offset_factors = (
            rated + share * (np.array(each) - rated)
            for each in (self.blend.unrated_factors, self.blend.unrated_offset_factors)
        )
        shift = share * self.blend.unrated_shift
        moved = self.layout.as_unrated(joined, factors.tolist(), offset_factors.tolist(), shift)
        return Moved(moved[0], folded.variance)


def _attributes(run: Run) -> dict[str, Attribute]:
    """Return what can be known of a movie, by its name."""
    return {each.name: each for each in (*run.attributes.attributes, *USUAL)}


def _check_pairs(run: Run) -> None:
    for part in run.config.parts:
        if PAIRS[part.name].new_movie_vectors is None:
            raise RequestError(
                f"the {part.name} pair knows no movie it was not trained on; train again with it"
            )


def check_fact(attribute: Attribute, value: object) -> None:
    """Raise a `RequestError` for a value that an attribute of a movie cannot have."""
    name, kind = attribute
    if name == columns.TITLE and (not isinstance(value, str) or not value.strip()):
        raise RequestError(f"title is '{shown(value)}'; give the title of the movie as a text")
    cell = cell_of(attribute, value)
    if value is None:
        return
    if name == columns.YEAR and not (isinstance(value, int) and YEARS[0] <= value <= YEARS[1]):
        raise RequestError(f"year {shown(value)} is impossible; give four digits, or leave it out")
    if not isinstance(cell, str):
        return
    for text in value if isinstance(value, list | tuple) else [cell]:
        if UNPRINTABLE.search(text):
            raise RequestError(f"{name} '{shown(text)}' holds control characters; leave them out")
        plot = kind is AttributeKind.TEXT and name != columns.TITLE
        longest = LONGEST_PLOT if plot else LONGEST
        if len(text) > longest:
            raise RequestError(f"{name} is longer than {longest:,} letters; shorten it")
        if kind is AttributeKind.LIST and SEPARATOR in text:
            raise RequestError(f"{name} '{shown(text)}' holds {SEPARATOR}; give each by itself")


def _cell(attribute: Attribute, facts: Facts) -> object:
    """Return a fact as a cell of a table holds it, an empty cell for one that does not fit."""
    try:
        return cell_of(attribute, facts.get(attribute.name))
    except RequestError:
        return cell_of(attribute, None)
