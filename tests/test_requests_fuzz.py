"""Whatever is typed or written into a file, there is an answer or an error of a few lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.cli.app import main
from retrieval.serving.recommender import Recommender

pytestmark = pytest.mark.slow

EXAMPLES = settings(
    max_examples=250,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# What people, programs and enemies write where a number belongs.
VALUES = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "1.0", "1e3", "1e999", "nan", "-inf", "0x10", "1_000", "9" * 5000, "2000",
         "2000-12-31", "978300760", "978300760000", "now", "[/b]", "[red]", "\x1b[31m", "\x9b",
         "\u202e", "\udcff", "None", "true", "x" * 3000, "\N{FULLWIDTH DIGIT ONE}", "5;7", "'"]
    ),
)  # fmt: skip
KNOWN = st.integers(1, 150).map(str)
CELLS = st.one_of(KNOWN, VALUES)
HISTORIES = st.one_of(
    VALUES,
    st.lists(
        st.builds(
            lambda movie, rating, time: f"{movie}:{rating}{time}",
            CELLS,
            st.one_of(st.sampled_from(["1", "3", "5"]), VALUES),
            st.one_of(st.just(""), VALUES.map("@{}".format)),
        ),
        max_size=4,
    ).map(",".join),
).flatmap(lambda text: st.sampled_from([text, f"+{text}"]))
OPTIONS = {
    "--user": CELLS,
    "--history": HISTORIES,
    "--at": VALUES,
    "--k": CELLS,
    "--age": VALUES,
    "--gender": st.one_of(st.sampled_from(["F", "M"]), VALUES),
    "--occupation": CELLS,
    "--year": VALUES,
    "--genre": st.one_of(st.sampled_from(["Drama", "comedy"]), VALUES),
    "--diversity": VALUES,
    "--rank-by": st.one_of(st.sampled_from(["rating", "watch", "blend"]), VALUES),
    "--movie": CELLS,
}
OF = {
    "topk": ("--user", "--history", "--at", "--k", "--age", "--gender", "--occupation", "--year",
             "--genre", "--diversity", "--rank-by"),
    "rate": ("--user", "--history", "--at", "--age", "--gender", "--occupation", "--movie"),
    "explain": ("--user", "--history", "--at", "--movie", "--rank-by", "--k"),
    "similar": ("--movie", "--k"),
}  # fmt: skip
COLUMNS = ("user_id", "movie_id", "rating", "timestamp", "note", "")


@pytest.fixture(scope="module", autouse=True)
def loaded(recommender: Recommender) -> Iterator[None]:
    """Load the run once, not at every question."""
    with mock.patch.object(Recommender, "load", return_value=recommender):
        yield


def ask(words: list[str]) -> tuple[int, str, str]:
    """Return the exit code, and what was said on both streams."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        mock.patch.object(sys, "argv", ["rec", *words]),
        pytest.raises(SystemExit) as stop,
    ):
        main()
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return int(stop.value.code or 0), said[0], said[1]


def check(words: list[str]) -> None:
    code, out, err = ask(words)
    assert code in {0, 1, 2}
    assert "Traceback" not in err
    lines = err.splitlines()
    assert all(line.isprintable() for text in (out, err) for line in text.split("\n"))
    if code == 1:
        assert 1 <= len(lines) <= 60
        assert len(err) < 20_000
        assert any(line.startswith("error: ") for line in lines)


@st.composite
def questions(draw: Callable[[st.SearchStrategy[object]], object]) -> list[str]:
    """Draw one question, with some of its options."""
    command = str(draw(st.sampled_from(sorted(OF))))
    chosen = draw(st.lists(st.sampled_from(OF[command]), unique=True, max_size=4))
    assert isinstance(chosen, list)
    needed = ["--movie"] if "--movie" in OF[command] else []
    words = [f"{option}={draw(OPTIONS[option])}" for option in dict.fromkeys([*chosen, *needed])]
    return [command, *(word.replace("\0", "") for word in words)]


@st.composite
def files(draw: Callable[[st.SearchStrategy[object]], object]) -> bytes:
    """Draw a CSV file, mostly with columns that make sense."""
    separator = str(draw(st.sampled_from([",", ",", ",", ",", ";", "\t"])))
    end = str(draw(st.sampled_from(["\n", "\n", "\r\n", "\r"])))
    usual = st.sampled_from([COLUMNS[:1], COLUMNS[:2], COLUMNS[:3], COLUMNS[:4]])
    header = draw(st.one_of(usual, usual, st.lists(st.sampled_from(COLUMNS), max_size=5)))
    assert isinstance(header, (list, tuple))
    width = st.sampled_from([len(header)] * 9 + [len(header) + 1])
    rows = draw(
        st.lists(width.flatmap(lambda n: st.lists(CELLS, min_size=n, max_size=n)), max_size=5)
    )
    assert isinstance(rows, list)
    text = end.join(separator.join(row) for row in [header, *rows])
    body = text.encode(str(draw(st.sampled_from(["utf-8", "utf-8-sig"]))), "replace")
    junk = draw(st.sampled_from([b"", b"", b"", b"\xff", b"\0", b'"', b"\x1b[31m"]))
    assert isinstance(junk, bytes)
    return body + junk


@EXAMPLES
@given(words=questions())
def test_any_question_has_an_answer_or_an_error_of_a_line(words: list[str], run: Path) -> None:
    check([*words, "--run", str(run)])


@EXAMPLES
@given(
    asked=files(),
    more=files(),
    option=st.sampled_from(["--users", "--pairs"]),
    unknown=st.sampled_from(["error", "skip", "new"]),
)
def test_any_file_of_questions_has_answers_or_an_error_of_a_few_lines(
    asked: bytes, more: bytes, option: str, unknown: str, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "asked.csv").write_bytes(asked)
    (tmp_path / "more.csv").write_bytes(more)
    words = ["batch"] if len(asked) % 2 else []  # either way
    words += ["topk" if option == "--users" else "rate", option, str(tmp_path / "asked.csv")]
    given_too = ["--histories", str(tmp_path / "more.csv")] if len(more) % 2 else []
    check([*words, *given_too, "--unknown", unknown, "--out", "-", "--run", str(run)])


@EXAMPLES
@given(allowed=files(), denied=files())
def test_any_file_of_movies_filters_or_is_an_error_of_a_few_lines(
    allowed: bytes, denied: bytes, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "allowed.csv").write_bytes(allowed.replace(b"user_id", b"movie_id"))
    (tmp_path / "denied.csv").write_bytes(denied.replace(b"user_id", b"movie_id"))
    places = ["--allow", str(tmp_path / "allowed.csv"), "--deny", str(tmp_path / "denied.csv")]
    check(["topk", "--user", "5", *places, "--run", str(run)])


@EXAMPLES
@given(text=st.one_of(VALUES, st.text(max_size=40)))
def test_any_text_finds_movies_or_none(text: str, recommender: Recommender) -> None:
    recommender.run.catalogue.search(text, 5)
