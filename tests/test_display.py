import json

import pytest

from retrieval.cli.display import notes, print_json, print_table, printable, progress


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


STRANGE = "Crash [/b] [red]Again[/red] :smile: \x1b[31m\x9b2J\x07\r\u202e\udcff"


def test_text_is_shown_as_it_is_and_nothing_in_it_is_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(STRANGE, ("title", "[b]"), [(STRANGE, 1.5)])
    out = capsys.readouterr().out
    assert out.count(r"Crash [/b] [red]Again[/red] :smile: \x1b[31m\x9b2J\x07\r\u202e\udcff") == 2
    assert "[b]" in out
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    notes().print("run [/b] :smile:")
    assert capsys.readouterr().err == "run [/b] :smile:\n"
    with progress() as bars:
        bars.add_task("[/b] :smile:", total=1)
    assert capsys.readouterr().err == "[/b] :smile:\n"
    assert printable("plain \N{LATIN SMALL LETTER E WITH ACUTE} \u00b1") == "plain \xe9 \xb1"


def test_json_says_the_same_and_is_obeyed_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"title": STRANGE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"title": STRANGE}
    assert all(letter.isprintable() for letter in out.removesuffix("\n"))
