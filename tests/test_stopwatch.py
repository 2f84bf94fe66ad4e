import time

from retrieval.stopwatch import Stopwatch


def test_seconds_go_to_the_stage_that_ends() -> None:
    watch = Stopwatch()
    watch.start()
    time.sleep(0.02)
    watch.lap("slow")
    watch.lap("quick")
    time.sleep(0.02)
    watch.lap("slow")
    assert watch.seconds["slow"] >= 0.04
    assert watch.seconds["quick"] < 0.01


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
