import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from terminals import shown_on_terminal

from retrieval.cli.progress import BETWEEN_LINES, Pace, logged, progress
from retrieval.progress import SILENT, Stage

SOURCE = Path(__file__).parent.parent / "retrieval"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def left(pace: Pace) -> float:
    assert pace.left is not None
    return pace.left


PLAN = [Stage("reading", 10), Stage("sampling", 60), Stage("indexing", 30)]


def test_before_anything_is_done_the_rest_takes_what_is_planned() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(PLAN)
    pace.stage("reading")
    assert (pace.share, left(pace)) == (0, 100)
    clock.now += 5  # a stage without steps passes as fast as it is expected to
    assert pace.share == pytest.approx(0.05)
    assert left(pace) == pytest.approx(95)


def test_a_machine_that_is_half_as_fast_needs_twice_the_time() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(PLAN)
    pace.stage("reading")
    clock.now += 20
    pace.stage("sampling", 60)
    for _ in range(30):
        clock.now += 2
        pace.advance()
    assert pace.share == pytest.approx(0.4)
    assert left(pace) == pytest.approx(2 * 60, rel=0.03)
    clock.now += 1  # between two steps it counts down
    assert left(pace) == pytest.approx(2 * 60 - 1, rel=0.03)


def test_a_stage_that_ends_early_says_nothing_of_the_speed() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(PLAN)
    pace.stage("sampling", 60)
    for _ in range(15):  # the reading was skipped
        clock.now += 1
        pace.advance()
    pace.stage("indexing")
    assert pace.share == pytest.approx(0.7)
    assert left(pace) == pytest.approx(30)


def test_steps_that_an_interrupted_training_had_done_say_nothing_of_the_speed() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(PLAN)
    pace.stage("sampling", 60)
    pace.advance(50)
    clock.now += 5
    pace.advance(5)
    assert left(pace) == pytest.approx(5 + 30)


def test_a_stage_that_takes_longer_than_planned_is_never_past_its_end() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(PLAN)
    pace.stage("reading")
    clock.now += 10_000
    assert pace.share is not None
    assert pace.share < 0.1
    assert left(pace) == pytest.approx(90)
    pace.stage("sampling", 4)
    pace.advance(9)  # more steps than were named
    assert pace.share == pytest.approx(0.7)


def test_what_nobody_planned_takes_no_part() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.plan(PLAN)
    pace.stage("reading")
    clock.now += 10
    pace.stage("asking a neighbour")
    clock.now += 500
    assert pace.share == pytest.approx(0.1)
    pace.stage("sampling", 60)
    assert left(pace) == pytest.approx(90)


def test_without_a_plan_steps_alone_tell_and_without_steps_nothing_does() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert (pace.share, pace.left, pace.words) == (None, None, "")
    pace.stage("waiting")
    clock.now += 7
    assert (pace.share, pace.left, pace.elapsed) == (None, None, 7)
    pace.stage("downloading", 1000)
    clock.now += 10
    pace.advance(250)
    assert pace.share == 0.25
    assert left(pace) == pytest.approx(30, rel=0.1)


def test_a_log_has_a_line_at_most_every_ten_seconds_the_first_and_the_last_always() -> None:
    clock, lines = Clock(), list[tuple[float, str]]()
    with logged(lambda text: lines.append((clock.now - 1000, text)), clock) as pace:
        pace.plan(PLAN)
        pace.stage("reading")
        clock.now += 4
        pace.stage("sampling", 60)
        for step in range(60):
            clock.now += 1
            pace.advance()
            pace.say(f"error {1 - step / 100:.2f}")
        clock.now += 1
        pace.stage("indexing")
        clock.now += 3
    times = [at for at, _ in lines]
    assert lines[0] == (0, "reading, 0%, 1:40 left")
    assert min(later - earlier for earlier, later in pairwise(times[:-1])) >= BETWEEN_LINES
    assert len(lines) == 8
    assert lines[1][1].startswith("sampling: ")  # it began while the line before was fresh
    assert re.fullmatch(r"sampling: error 0\.\d\d, \d\d%, \d:\d\d left", lines[3][1])
    assert lines[-1][1].startswith("indexing, ")
    assert times[-1] == 68


def test_the_last_line_comes_where_the_work_fails_too_and_only_once() -> None:
    clock, lines = Clock(), list[str]()

    def fail() -> None:
        with logged(lines.append, clock) as pace:
            pace.stage("dividing")
            clock.now += 3
            pace.say("by nothing")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert lines == ["dividing, 0:00 so far", "dividing: by nothing, 0:03 so far"]
    lines.clear()
    with logged(lines.append, clock) as pace:
        pace.stage("resting")
    assert len(lines) == 1
    with logged(lines.append, clock):
        pass
    assert len(lines) == 1


def test_long_times_are_hours_and_nothing_in_a_line_is_obeyed() -> None:
    clock, lines = Clock(), list[str]()
    with logged(lines.append, clock) as pace:
        pace.plan([Stage("[/b]\x1b[31m", 3725)])
        pace.stage("[/b]\x1b[31m")
    assert lines == [r"[/b]\x1b[31m, 0%, 1:02:05 left"]


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(quiet=True) as shown:
        assert shown is SILENT
    with progress() as shown:
        shown.stage("reading")
    assert capsys.readouterr().err == "reading, 0:00 so far\n"


def test_a_terminal_has_one_bar_that_is_gone_in_the_end() -> None:
    program = (
        "import time, sys\n"
        "from retrieval.cli.display import note\n"
        "from retrieval.cli.progress import progress\n"
        "from retrieval.progress import Stage\n"
        "with progress() as shown:\n"
        "    shown.plan([Stage('reading', 1), Stage('sampling', 1)])\n"
        "    shown.stage('sampling', 4)\n"
        "    shown.advance(2)\n"
        "    shown.say('[b] error 0.5')\n"
        "    note('beside it')\n"
        "    time.sleep(0.6)\n"
        "print('data')\n"
    )
    said, data = shown_on_terminal([sys.executable, "-c", program], 80, streams=("stderr",))
    assert data == b"data\n"  # the bar takes no part in what is data
    assert "sampling: [b] error 0.5" in said
    assert "75%" in said
    assert "0:00 left" in said
    assert "beside it" in said
    assert said.rstrip().endswith("\x1b[2K")  # the line of the bar is erased


def test_only_the_command_line_draws() -> None:
    for path in SOURCE.rglob("*.py"):
        if path.parent.name != "cli":
            assert not re.search(r"^\s*(?:import|from) rich\b", path.read_text(), re.MULTILINE), (
                path
            )
