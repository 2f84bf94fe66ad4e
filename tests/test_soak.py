"""A service that is read and written for minutes, while all that it stands on changes."""

from pathlib import Path

import pytest
import soak
from postgres_server import programs

MINUTES = 1.25


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_fails_and_nothing_told_is_lost(run: Path, tmp_path: Path, kind: str) -> None:
    if kind == "postgresql" and programs() is None:
        pytest.skip("there is no PostgreSQL here")
    with soak.database(kind, tmp_path) as there:
        home = soak.copied(run, tmp_path)
        verdict = soak.soak(home, tmp_path, there, MINUTES * 60, workers=2)
    wrong = {name: verdict.counts[name] for name in soak.WRONG}
    assert wrong == dict.fromkeys(soak.WRONG, 0), verdict.wrong
    assert abs(verdict.grown) <= soak.FLAT
    assert verdict.counts["swaps"] >= 3
    assert verdict.counts["acknowledged"] > 0
    assert verdict.counts["watched"] > 0
    assert (verdict.counts["refused"] > 0) is (kind == "postgresql")
