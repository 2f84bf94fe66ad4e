import numpy as np
import pytest

from retrieval.data.scale import (
    LARGEST,
    MOST_LEVELS,
    RatingScale,
    are_stars,
    fits,
    scale_of,
    star_scale,
)

RNG = np.random.default_rng(0)
STARS = np.tile([1.0, 2, 3, 4, 5], 30)


def spanned(*ratings: float | np.ndarray) -> tuple[float, float, float | None]:
    scale = scale_of(np.hstack(ratings))
    assert scale is not None
    return scale.lowest, scale.highest, scale.step


@pytest.mark.parametrize(
    ("ratings", "scale"),
    [
        ([0, 1], (0, 1, 1)),
        ([-1, 1], (-1, 1, 2)),
        ([-1, 0, 1], (-1, 1, 1)),
        ([0, 1, 2, 3, 4], (0, 4, 1)),
        (range(11), (0, 10, 1)),
        (range(1, 11), (1, 10, 1)),
        (range(10), (0, 9, 1)),
        ([1, 2, 5], (1, 5, 1)),
        ([1, 3, 5], (1, 5, 2)),
        ([10, 20, 50], (10, 50, 10)),
        ([0.5, 1, 5], (0.5, 5, 0.5)),
        ([1, 3.5, 2], (1, 3.5, 0.5)),
        ([0.1, 0.4, 0.2], (0.1, 0.4, 0.1)),
        ([1 / 3, 2 / 3, 1], (1 / 3, 1, 1 / 3)),
        ([0, 73], (0, 73, 73)),
        ([-2, 0, 1], (-2, 1, 1)),
        ([0, 100, 35], (0, 100, 5)),
        (range(1, 5001), (1, 5000, 1)),
        ([3, 3], (3, 3, 1)),
        ([1, 5, np.nan, np.inf, -np.inf, 4], (1, 5, 1)),
        ([1, 2, 3.141592653], (1, 3.141592653, None)),
    ],
)
def test_the_scale_is_what_the_values_span_in_their_step(
    ratings: list[float], scale: tuple[float, float, float | None]
) -> None:
    repeated = np.repeat(np.array(ratings, dtype=float), 40)
    for found in (spanned(np.array(ratings, dtype=float)), spanned(repeated)):
        assert found == pytest.approx(scale)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("step", [0.1, 0.25, 0.5, 1])
def test_the_noise_of_narrow_floats_is_no_step(kind: type[np.floating], step: float) -> None:
    ratings = (np.arange(1, 11) * step).astype(kind)
    lowest, highest, found = spanned(ratings.astype(kind))
    assert (lowest, highest) == pytest.approx((step, 10 * step), rel=1e-12)
    assert found == pytest.approx(step, rel=1e-6)


def test_sums_of_tenths_are_tenths() -> None:
    assert spanned(np.cumsum(np.full(50, 0.1))) == pytest.approx((0.1, 5.0, 0.1))


def test_values_without_a_step_are_continuous() -> None:
    assert spanned(RNG.uniform(0.01, 0.99, 500).round(4))[2] is None
    scale = RatingScale(lowest=0.01, highest=0.99, step=None)
    assert str(scale) == "0.01 to 0.99, continuous"
    assert scale.classes == MOST_LEVELS


def test_no_ratings_have_no_scale() -> None:
    assert scale_of(np.array([])) is None
    assert scale_of(np.array([np.nan, np.inf])) is None


def test_every_rating_fits_the_scale_of_all_or_is_a_mistake() -> None:
    for _ in range(300):
        values = RNG.choice([1, 0.5, 0.1, 0.05, 1 / 3]) * RNG.integers(-5, 30, RNG.integers(1, 9))
        ratings = RNG.choice(values, RNG.integers(1, 300)).astype(RNG.choice(["f4", "f8"]))
        scale = scale_of(ratings)
        assert scale is not None
        assert (~fits(ratings, scale)).sum() <= 1
        assert scale.lowest <= scale.highest


@pytest.mark.parametrize("wrong", [55, -999, 978_300_760, 1e30, 1e300, 10])
@pytest.mark.parametrize(
    ("others", "scale"),
    [
        (STARS, (1, 5, 1)),
        (STARS / 2 + 0.5, (1, 3, 0.5)),
        (np.tile([1, 2, 3, 4], 40), (1, 4, 1)),
        (np.tile([0, 1], 75), (0, 1, 1)),
        (np.tile([-1, 1], 75), (-1, 1, 2)),
        (np.tile([4, 5], 75), (4, 5, 1)),
    ],
)
def test_one_mistake_in_a_small_file_does_not_set_the_scale(
    others: np.ndarray, scale: tuple[float, float, float], wrong: float
) -> None:
    assert spanned(others, wrong) == scale


@pytest.mark.parametrize("wrong", [55, 978_300_760])
@pytest.mark.parametrize(
    "others",
    [
        STARS[:5],
        np.array([5.0, 3.0]),
        np.full(150, 5),
        np.arange(150) % 11,
        RNG.uniform(0.01, 0.99, 149),
        RNG.integers(1, 9, 2000),
    ],
)
def test_the_others_set_the_scale_whatever_it_is(others: np.ndarray, wrong: float) -> None:
    assert spanned(others, wrong) == spanned(others)


def test_a_time_in_the_column_of_ratings_shows_among_play_counts() -> None:
    plays = np.round(RNG.pareto(1, 5000) + 1)
    assert spanned(plays, 978_300_760) == spanned(plays)


@pytest.mark.parametrize(
    "ratings",
    [
        [*np.full(149, 5), 4],
        [*np.full(149, 5), 0.5],
        [*np.tile([4, 5], 75), 1],
        [*np.tile([1, 5], 75), 3],
        [*np.full(149, 1), 0],
        [*STARS, 0],
        [0, 73],
        [5, 55],
    ],
)
def test_a_rare_rating_within_reach_is_no_mistake(ratings: list[float]) -> None:
    scale = scale_of(np.array(ratings, dtype=float))
    assert scale is not None
    assert fits(np.array(ratings), scale).all()


def test_a_half_among_whole_numbers_is_a_mistake_where_others_are_enough() -> None:
    assert spanned(STARS, 2.5) == (1, 5, 1)
    assert spanned(STARS, 2.5, 3.5) == (1, 5, 0.5)
    assert spanned(np.array([1, 2, 2.5])) == (1, 2.5, 0.5)
    assert spanned(np.tile(STARS, 20), 2.5, 0.3, 4.01) == (1, 5, 1)


@pytest.mark.parametrize("seed", range(20))
def test_play_counts_have_no_mistakes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for plays in (rng.geometric(0.5, 50_000), np.round(rng.pareto(0.7, 4000) + 1)):
        kept = plays[plays <= LARGEST]
        assert spanned(plays) == (kept.min(), kept.max(), 1)


def test_one_level_is_a_level() -> None:
    scale = RatingScale(lowest=5, highest=5, step=1)
    ratings = np.array([5, 5], dtype=np.float32)
    assert (scale.classes, scale.unit, str(scale)) == (1, 1.0, "5 alone")
    assert scale.class_of(ratings).tolist() == [0, 0]
    assert scale.deviations(ratings, 5.0).tolist() == [0, 0]
    assert scale.clip(np.array([3.0, 9.0])).tolist() == [5, 5]


def test_two_levels_are_the_ends() -> None:
    scale = RatingScale(lowest=-1, highest=1, step=2)
    assert (scale.classes, scale.unit, str(scale)) == (2, 0.5, "-1 to 1 by 2")
    assert scale.class_of(np.array([-1, 1, 1], dtype=np.float32)).tolist() == [0, 1, 1]


def test_continuous_ratings_have_levels_of_equal_width() -> None:
    scale = RatingScale(lowest=0, highest=2, step=None)
    ratings = np.array([[0, 0.19, 0.21], [1.79, 1.81, 2]], dtype=np.float32)
    assert scale.class_of(ratings).tolist() == [[0, 0, 1], [8, 9, 9]]


def test_levels_of_many_steps_run_from_the_lowest_to_the_highest() -> None:
    scale = RatingScale(lowest=1, highest=22_125, step=1)
    classes = scale.class_of(np.array([1, 500, 22_125], dtype=np.float32))
    assert classes.tolist() == [0, 0, MOST_LEVELS - 1]


def test_stars_are_whole_or_half() -> None:
    assert star_scale(np.array([1, 2, 5.0])).step == 1
    assert star_scale(np.array([1, 2, 4.5])).step == 0.5
    assert star_scale(np.array([1, 2, 9.0])).step == 1


def test_what_is_on_another_scale_than_stars_is_not_stars() -> None:
    assert are_stars(np.array([1, 2, 5.0, 9]))
    assert are_stars(STARS)
    assert not are_stars(STARS - 1)
    assert not are_stars(STARS * 2)
    assert not are_stars(np.tile([0, 1], 50))
