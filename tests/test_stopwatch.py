import time

import pytest

from retrieval.serving.stopwatch import StageTimes, lap


def test_seconds_go_to_the_stage_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 12.0, 12.5, 15.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    timer = StageTimes()
    timer.lap("slow")
    timer.lap("quick")
    lap(timer, "slow")
    assert timer.seconds == {"slow": 5.0, "quick": 0.5}


def test_where_nobody_measures_the_clock_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", None)
    lap(None, "any")
