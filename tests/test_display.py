import logging
import sys

import pytest
from terminals import shown_on_terminal

from retrieval.cli.display import (
    complain,
    escaped,
    note,
    printable,
    remark,
    warnings_shown,
)
from retrieval.errors import CONTROLS, shown

STRANGE = "Crash [/b] [red]Again[/red] :smile: \x1b[31m\x9b2J\x07\r\u2028\u202e\udcff"
SHOWN = r"Crash [/b] [red]Again[/red] :smile: \x1b[31m\x9b2J\x07\r\u2028\u202e\udcff"


def test_notes_and_errors_go_to_stderr_as_they_are_and_nothing_in_them_is_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for write in (note, complain):
        write(STRANGE)
        assert capsys.readouterr() == ("", f"{SHOWN}\n")
    note("one\ntwo")
    assert capsys.readouterr().err == "one\ntwo\n"
    remark("one", "two")
    assert capsys.readouterr().err == "note: one\nnote: two\n"
    remark()
    assert capsys.readouterr().err == ""


def test_errors_are_red_on_a_terminal_where_colours_are_wanted() -> None:
    program = "from retrieval.cli.display import complain, note; complain('[b] no'); note('n')"
    command = [sys.executable, "-c", program]
    for colours, env in ((True, {}), (False, {"NO_COLOR": "1"}), (False, {"TERM": "dumb"})):
        said, _ = shown_on_terminal(command, 80, streams=("stderr",), **env)
        assert ("\x1b[31m[b] no" in said) == colours
        assert said.endswith("n\r\n")


def test_text_that_is_no_command_to_a_terminal_is_data_and_stays() -> None:
    for text in ("plain \N{LATIN SMALL LETTER E WITH ACUTE} \u00b1", "a\u00a0b", "\u200d\ufeff"):
        assert printable(text) == escaped(text) == text


def test_what_a_terminal_would_obey_no_message_shows_either() -> None:
    assert "\\x1b" not in CONTROLS  # it is within a range
    for letter in STRANGE:
        if escaped(letter) != letter:
            assert shown(letter) == escaped(letter)


def test_warnings_of_the_library_are_notes_even_while_a_bar_has_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("retrieval.somewhere")
    with warnings_shown():
        log.warning("it is %s", "odd")
        assert capsys.readouterr().err == "note: it is odd\n"
        monkeypatch.setattr(sys, "stderr", sys.stdout)  # as a bar does, to draw below
        log.warning("still")
    assert capsys.readouterr().out == "note: still\n"
    log.warning("nobody listens")
    assert "note" not in capsys.readouterr().out
