"""Whether the files of a run belong together: checked when it is opened, cheaply.

A run may have been made by anybody. Numbers that are used as places in an array must be such
places, or answers are silently wrong.
"""

import math
from collections.abc import Container, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.blending.blend import RatingBlend
from retrieval.blending.link import Link
from retrieval.data.history import Histories
from retrieval.data.scale import RatingScale
from retrieval.errors import RunError
from retrieval.pairs.layout import Part, VectorLayout
from retrieval.storage.arrays import check_vectors


def check_histories(histories: Histories, users: int, movies: int, scale: RatingScale) -> None:
    """Raise a `RunError` if the histories are not of so many users, movies and this scale."""
    offsets, rated, ratings, timestamps = histories
    _require(
        "the offsets of its histories are not ascending, or not of its users",
        sound=_is(offsets, np.int64, (users + 1,))
        and offsets[0] == 0
        and offsets[-1] == len(rated)
        and bool((np.diff(offsets) >= 0).all()),
    )
    count = (len(rated),)
    _require(
        "its histories are not of one length",
        sound=_is(rated, np.int32, count)
        and _is(ratings, np.float32, count)
        and _is(timestamps, np.int64, count),
    )
    _require("its histories hold movies that it does not have", sound=_within(rated, 0, movies - 1))
    _require(
        "its histories hold ratings outside its scale",
        sound=_within(ratings, scale.lowest - 1e-3, scale.highest + 1e-3),
    )


def check_users(
    codes: NDArray[np.int64], trained: NDArray[np.bool_], users: int, sizes: Sequence[int]
) -> None:
    """Raise a `RunError` if what is known of users is not of so many, or outside what there is."""
    _require(
        "what it knows of users is not of its users",
        sound=_is(codes, np.int64, (users, len(sizes))) and _is(trained, np.bool_, (users,)),
    )
    for column, size in zip(codes.T, sizes, strict=True):
        _require(
            "what it knows of users is nothing it has names for", sound=_within(column, 0, size - 1)
        )


def check_parts(parts: Sequence[Part], known: Container[str], added: NDArray[np.float32]) -> None:
    """Raise a `RunError` if parts of movie vectors are none, or added vectors of another size.

    Args:
        parts: Parts of the pairs.
        known: Names of the pairs that there are.
        added: `(A, D)` vectors of movies that were added after training.
    """
    names = [part.name for part in parts]
    for name in names:
        _require(f"it has a pair that is unknown here, {name[:40]!r}", sound=name in known)
    _require("it names a tower pair twice", sound=len({*names}) == len(names))
    _require("it has no tower pair", sound=bool(names))
    _require(
        "a tower pair of it has no components, no role or no temperature",
        sound=all(part.width > 0 and part.roles and part.temperature > 0 for part in parts),
    )
    if len(added):
        dimension = VectorLayout(tuple(parts)).dimension
        check_vectors(added, (len(added), dimension), "vectors of the movies added to it")


def check_numbers(facts: object) -> None:
    """Raise a `RunError` if a number anywhere in mappings and sequences is not finite."""
    if isinstance(facts, Mapping):
        facts = list(facts.values())
    if isinstance(facts, float):
        _require("a number in its settings is not finite", sound=math.isfinite(facts))
    if isinstance(facts, list | tuple):
        for fact in facts:
            check_numbers(fact)


def check_scale(scale: RatingScale, link: Link | None) -> None:
    """Raise a `RunError` if no rating can be on a scale, or a link has classes in no order."""
    stepped = scale.step is None or scale.step > 0
    _require("its rating scale is none", sound=stepped and scale.lowest <= scale.highest)
    if link is not None:
        ordered = all(bool((np.diff(ends) > 0).all()) for ends in (link.values, link.thresholds))
        fitting = len(link.values) == len(link.thresholds) + 1
        _require("the classes of its link are in no order", sound=ordered and fitting)


def check_blend(blend: RatingBlend, pairs: int) -> None:
    """Raise a `RunError` if a blend is not of so many pairs that rate."""
    of_each = (
        blend.weights,
        blend.new_user_weights,
        blend.origins,
        blend.unrated_factors,
        blend.unrated_offset_factors,
    )
    of_pairs = all(len(each) == pairs for each in of_each) and blend.halfway > 0
    _require("its blend is not of its tower pairs", sound=of_pairs)


def _is(array: NDArray[np.generic], kind: type[np.generic], shape: tuple[int, ...]) -> bool:
    return array.dtype == kind and array.shape == shape


def _within(values: NDArray[np.generic], low: float, high: float) -> bool:
    """Return whether all values lie between two ends; NaN does not."""
    return not values.size or bool(low <= values.min() and values.max() <= high)


def _require(complaint: str, *, sound: bool) -> None:
    if not sound:
        raise RunError(complaint)
