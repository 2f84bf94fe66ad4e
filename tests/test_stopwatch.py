import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from retrieval.serving.stopwatch import Stopwatch


def test_seconds_go_to_the_stage_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 12.0, 12.5, 15.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    watch = Stopwatch()
    watch.start()
    watch.lap("slow")
    watch.lap("quick")
    watch.lap("slow")
    assert watch.seconds == {"slow": 5.0, "quick": 0.5}


def test_threads_hear_nothing_of_each_other() -> None:
    watch = Stopwatch()
    watch.start()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(watch.lap, "elsewhere").result()
        assert pool.submit(lambda: dict(watch.seconds)).result() == {}
    watch.lap("here")
    assert set(watch.seconds) == {"here"}


def test_stopped_nothing_counts_and_started_again_all_is_forgotten() -> None:
    watch = Stopwatch()
    watch.lap("before")
    assert not watch.seconds
    watch.start()
    watch.lap("first")
    watch.stop()
    watch.lap("after")
    assert set(watch.seconds) == {"first"}
    watch.start()
    assert not watch.seconds
