import pytest

from retrieval.display import progress


def test_a_log_has_a_line_for_each_thing_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as bars:
        task = bars.add_task("training", total=4)
        bars.update(task, completed=1)
        bars.update(task, description="epoch 1", completed=2)
        bars.update(task, description="epoch 1", completed=3)
        bars.update(task, description="epoch 2", completed=4)
        before_the_end = capsys.readouterr().err
    said = [line.split(" (")[0] for line in before_the_end.splitlines()]
    assert said == ["training", "epoch 1", "epoch 2"]
    assert not capsys.readouterr().err
