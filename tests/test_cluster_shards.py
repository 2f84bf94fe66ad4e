"""Parts of an index, asked together."""

from pathlib import Path

import numpy as np
import pytest
from cluster_shards import (
    SOURCE,
    answer_bytes,
    answer_of,
    drive,
    merge,
    question_bytes,
    question_of,
    shards,
)

from index.search import Index
from index.store import save_index

RNG = np.random.default_rng(0)
# Whole numbers: many of their dot products are equal, so that ties count.
VECTORS = RNG.integers(-2, 3, (600, 5)).astype(np.float32)
QUERIES = RNG.integers(-2, 3, (20, 5)).astype(np.float32)
EXCLUDED = [RNG.choice(600, 40, replace=False) for _ in QUERIES]
IDS = RNG.permutation(600)
PARTS = [Index.build(IDS[part::2], VECTORS[part::2]) for part in (0, 1)]
WHOLE = Index.build(IDS, VECTORS).search(QUERIES, 20, EXCLUDED)


def test_merged_lists_are_those_of_one_index() -> None:
    merged = merge([part.search(QUERIES, 20, EXCLUDED) for part in PARTS], 20)
    assert np.array_equal(merged.ids, WHOLE.ids)
    assert np.array_equal(merged.scores, WHOLE.scores)


def test_a_part_with_fewer_movies_than_are_wanted_does_not_shorten_the_list() -> None:
    small = Index.build(IDS[:5], VECTORS[:5])
    large = Index.build(IDS[5:], VECTORS[5:])
    merged = merge([each.search(QUERIES, 20, EXCLUDED) for each in (small, large)], 20)
    assert np.array_equal(merged.ids, WHOLE.ids)


def test_messages_say_what_was_written() -> None:
    query, k, excluded = question_of(question_bytes(QUERIES[3], 20, EXCLUDED[3]))
    assert k == 20
    assert np.array_equal(query, QUERIES[3:4])
    assert np.array_equal(excluded, EXCLUDED[3])
    found = PARTS[0].search(QUERIES[3:4], 20)
    seconds, again = answer_of(answer_bytes(0.25, found))
    assert seconds == 0.25
    assert np.array_equal(again.ids, found.ids)
    assert np.array_equal(again.scores, found.scores)


@pytest.mark.slow
@pytest.mark.parametrize("due", [None, np.arange(20) / 200])
def test_two_processes_answer_as_one_index(tmp_path: Path, due: np.ndarray | None) -> None:
    folders = []
    for number, part in enumerate(PARTS):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        save_index(folders[-1], part, SOURCE)
    with shards(folders) as connections:
        answered = drive(connections, QUERIES, EXCLUDED, 20, due)
    assert np.array_equal(np.concatenate([found.ids for found in answered.found]), WHOLE.ids)
    assert np.array_equal(np.concatenate([found.scores for found in answered.found]), WHOLE.scores)
    assert (answered.taken > answered.search.max(axis=1)).all()
