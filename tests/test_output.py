import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from terminals import shown_on_terminal

from retrieval.cli.answers import check_out, write_answers
from retrieval.cli.app import main
from retrieval.errors import RequestError

HEADER = ("user_id", "rank", "movie_id", "score", "rating")
ROWS = [(42, 1, 7, 1.25, 3.5), (43, None, None, None, None)]
CSV = "user_id,rank,movie_id,score,rating\n42,1,7,1.250000,3.500000\n43,,,,\n"


def rec(*words: str, code: str = "") -> list[str]:
    """Return a command that runs rec as a process of its own, after some code."""
    if not code:
        return [sys.executable, "-m", "retrieval", *words]
    program = f"import sys\nsys.argv = {['rec', *words]!r}\n{code}"
    return [sys.executable, "-c", f"{program}\nfrom retrieval.cli.app import main\nmain()"]


def done(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        rec(*words), capture_output=True, check=False, env=os.environ | (env or {})
    )


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    write_answers(out, HEADER, iter(ROWS))
    assert out.read_text() == CSV
    with pytest.raises(ZeroDivisionError):
        write_answers(out, ("a",), (((1 // row),) for row in (1, 0)))
    assert out.read_text() == CSV
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_what_a_symbolic_link_points_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    real, link, dangling = (tmp_path / name for name in ("real.csv", "link.csv", "dangling.csv"))
    real.write_text("old")
    link.symlink_to(real)
    dangling.symlink_to(tmp_path / "made.csv")
    for path in (link, dangling):
        check_out(path, [])
        write_answers(path, HEADER, ROWS)
        assert path.is_symlink()
        assert path.read_text() == CSV
    assert (tmp_path / "made.csv").read_text() == real.read_text() == CSV


def test_a_link_at_the_name_of_a_partial_file_is_not_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    for name in (".out.csv.partial", "out.csv.partial"):
        (tmp_path / name).symlink_to(precious)
    write_answers(tmp_path / "out.csv", HEADER, ROWS)
    assert precious.read_text() == "mine"
    assert (tmp_path / "out.csv").read_text() == CSV


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    for name in ("pipe.csv", "pipe.parquet"):
        pipe = tmp_path / name
        os.mkfifo(pipe)
        read: list[bytes] = []
        reader = threading.Thread(
            target=lambda pipe=pipe, read=read: read.append(pipe.read_bytes()), daemon=True
        )
        reader.start()
        check_out(pipe, [])
        write_answers(pipe, HEADER, ROWS)
        reader.join(30)
        assert pipe.is_fifo()
        (tmp_path / "copy").write_bytes(read[0])
        if name.endswith("csv"):
            assert read[0].decode() == CSV
        else:
            assert pq.read_table(tmp_path / "copy").num_rows == 2


def test_a_socket_is_written_through(tmp_path: Path) -> None:
    read: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen(1)

        def listen() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as file:
                read.append(file.read())

        reader = threading.Thread(target=listen, daemon=True)
        reader.start()
        write_answers(tmp_path / "socket", HEADER, ROWS)
        reader.join(30)
    assert read[0].decode() == CSV
    assert (tmp_path / "socket").is_socket()


def test_devices_and_standard_output_are_written_through(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = Path("/dev/null").stat()
    check_out(Path("/dev/null"), [])
    write_answers(Path("/dev/null"), HEADER, ROWS)
    assert Path("/dev/null").stat().st_rdev == before.st_rdev
    write_answers(Path("-"), HEADER, ROWS)
    assert capfd.readouterr().out == CSV
    (tmp_path / "users.csv").write_text("user_id\n42\n")
    users = str(tmp_path / "users.csv")
    words = ("batch", "topk", "--run", str(run), "--users", users, "--k", "2", "--out")
    for out in ("-", "/dev/stdout"):
        said = done(*words, out)
        assert said.stdout.decode().splitlines()[0] == ",".join(HEADER)
        assert said.stderr.decode().endswith(f"to {out}\n")
    with (tmp_path / "file").open("wb") as file:
        subprocess.run(
            rec(*words, "/dev/stdout"), stdout=file, stderr=subprocess.DEVNULL, check=True
        )
    assert (tmp_path / "file").read_text().startswith("user_id,rank")


def test_an_open_file_is_written_through_whatever_its_name(tmp_path: Path) -> None:
    """A log keeps what it holds, and goes on afterwards."""
    for number, name in ((2, "/dev/stderr"), (7, "/dev/fd/7"), (7, "/proc/self/fd/7")):
        log = tmp_path / "log"
        log.write_text("before\n")
        code = (
            "from pathlib import Path; from retrieval.cli.answers import write_answers; import os\n"
        )
        code += f"os.dup2(os.open({str(log)!r}, os.O_WRONLY | os.O_APPEND), {number})\n"
        code += f"write_answers(Path('{name}'), {HEADER!r}, {ROWS!r}); os.write({number}, b'after')"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert log.read_text() == f"before\n{CSV}after"


def test_permissions_of_a_file_that_is_written_anew_stay(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.touch(0o600)
    write_answers(out, HEADER, ROWS)
    assert out.stat().st_mode & 0o777 == 0o600


def test_any_name_that_a_file_can_have_is_written(tmp_path: Path) -> None:
    for name in (b"bad\xff.csv", b"new\nline.csv", b"\xc3\xa9" * 120, b".parquet"):
        out = tmp_path / os.fsdecode(name)
        check_out(out, [])
        write_answers(out, HEADER, ROWS)
        assert out.read_bytes().startswith(b"PAR1" if name == b".parquet" else b"user_id,")
    assert not list(tmp_path.glob("*.partial"))


def test_a_place_that_fails_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))  # and nobody listens
    for place in (Path("/dev/full"), tmp_path / "socket"):
        with pytest.raises(OSError, match=re.escape(str(place))):
            write_answers(place, HEADER, ROWS)


def test_parquet_has_whole_numbers_and_nulls(tmp_path: Path) -> None:
    write_answers(tmp_path / "out.parquet", HEADER, iter(ROWS))
    table = pq.read_table(tmp_path / "out.parquet")
    assert [str(kind) for kind in table.schema.types] == ["int64"] * 3 + ["double"] * 2
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    write_answers(tmp_path / "none.parquet", HEADER, [])
    assert pq.read_table(tmp_path / "none.parquet").schema == table.schema


def test_a_place_where_answers_do_not_belong_is_refused(run: Path, tmp_path: Path) -> None:
    questions = tmp_path / "users.csv"
    questions.write_text("user_id\n1\n")
    os.link(questions, tmp_path / "hard.csv")
    (tmp_path / "soft.csv").symlink_to(questions)
    (tmp_path / "into.csv").symlink_to(run / "x.csv")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    inside = next(path for path in run.rglob("movies.json"))
    for out, message in {
        questions: "is read from too",
        tmp_path / "hard.csv": "is read from too",
        tmp_path / "soft.csv": "is read from too",
        tmp_path / "into.csv": "lies in the run",
        run / "x.csv": "lies in the run",
        inside: "lies in the run",
        inside.parent / "index" / "x.csv": "lies in the run",
        tmp_path: "is a folder",
        tmp_path / "missing" / "x.csv": "there is no folder",
        questions / "x.csv": "there is no folder",
        tmp_path / "round": "nothing can be written to",
        tmp_path / ("x" * 300): "nothing can be written to",
        Path("/proc/x.csv"): "nothing can be written into",
    }.items():
        with pytest.raises(RequestError, match=message):
            check_out(out, [questions])
    assert questions.read_text() == "user_id\n1\n"


def test_a_place_is_refused_before_the_work(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "retrieval.serving.recommender.Recommender.load", lambda *_, **__: pytest.fail("it works")
    )
    (tmp_path / "u.csv").write_text("user_id,movie_id\n1,1\n")
    for command, option in (("topk", "--users"), ("rate", "--pairs")):
        words = ["rec", "batch", command, option, str(tmp_path / "u.csv"), "--run", str(run)]
        monkeypatch.setattr(sys, "argv", [*words, "--out", str(tmp_path / "no" / "x.csv")])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 1
        assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_partial_file_and_says_so(
    run: Path, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "users.csv").write_text("user_id\n42\n")
    (tmp_path / "out.csv").write_text("old")
    words = ["batch", "topk", "--run", str(run), "--users", str(tmp_path / "users.csv")]
    slow = (
        "import time, retrieval.cli.answers\n"
        "def wait(*_):\n    print('writing', flush=True)\n    time.sleep(60)\n"
        "retrieval.cli.answers._write_csv = wait\n"
    )
    command = rec(*words, "--k", "2", "--out", str(tmp_path / "out.csv"), code=slow)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.iterdir())) == 3
        process.send_signal(number)
        said = process.stderr.read().decode()
    assert process.returncode == 128 + number
    assert said == f"interrupted by {number.name}\n"
    assert (tmp_path / "out.csv").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_a_library_makes_an_error_of_is_a_signal(number: signal.Signals) -> None:
    """As the compiled parts of onnxruntime do, if it comes while they are imported."""
    code = "import retrieval.cli.app as cli, os\n"
    code += "def app():\n"
    code += f"    try: os.kill(os.getpid(), {int(number)})\n"
    code += "    except BaseException: raise ImportError('initialization failed') from None\n"
    code += "cli.app = app\n"
    said = subprocess.run(rec("x", code=code), check=False, capture_output=True)
    assert said.returncode == 128 + number
    assert said.stderr.decode() == f"interrupted by {number.name}\n"


def test_a_signal_that_is_ignored_stays_so() -> None:
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += "import retrieval.cli.app as cli, os\n"
    code += "cli.app = lambda: os.kill(os.getpid(), signal.SIGHUP)\n"
    assert subprocess.run(rec("x", code=code), check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("words", [["--json"], []])
def test_a_full_disk_is_one_line(run: Path, words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        said = subprocess.run(
            rec("topk", "--user", "42", "--run", str(run), *words),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )
    assert said.returncode == 1
    assert said.stderr.decode() == "error: No space left on device\n"


def ended_by(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Return the exit code of a command in which an error is raised, and what it says."""

    def fail() -> None:
        raise error

    monkeypatch.setattr("retrieval.cli.app.app", fail)
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            PermissionError(13, "Permission denied", "/x/\x1b[31m"),
            r"error: /x/\x1b[31m: Permission denied",
        ),
        (OSError(28, "No space left on device"), "error: No space left on device"),
        (MemoryError(), "error: there is not enough memory"),
        (RequestError("[b]x[/b] \x1b[31m"), r"error: [b]x[/b] \x1b[31m"),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    error: BaseException,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said = ended_by(error, monkeypatch, capsys)
    assert code == 1
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_ctrl_c_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = ended_by(KeyboardInterrupt(), monkeypatch, capsys)
    assert code == 130
    assert said == "interrupted by SIGINT\n"


@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_everything_can_be_said_in_ascii(run: Path, env: dict[str, str]) -> None:
    said = done("rate", "--user", "42", "--movie", "5", "--run", str(run), env=env)
    assert said.returncode == 0
    assert b"+/-" in said.stdout
    table = done("movies", "Am\N{LATIN SMALL LETTER E WITH ACUTE}lie", "--run", str(run), env=env)
    assert table.returncode == 0
    assert table.stdout.isascii()
    assert b"id  title" in table.stdout
    drawn, _ = shown_on_terminal(rec("topk", "--user", "42", "--run", str(run)), 80, **env)
    assert drawn.isascii() or "PYTHONIOENCODING" not in env
    assert ("|" in drawn) == ("PYTHONIOENCODING" in env)
    listed = done("topk", "--user", "42", "--run", str(run), "--json", env=env)
    assert len(json.loads(listed.stdout)["movies"]) == 20


@pytest.mark.parametrize("columns", ["40", "0"])
def test_a_narrow_terminal_is_no_reason_to_fail(run: Path, columns: str) -> None:
    assert done("topk", "--user", "42", "--run", str(run), env={"COLUMNS": columns}).returncode == 0
    words = ("topk", "--user", "42", "--k", "2", "--run", str(run))
    drawn, _ = shown_on_terminal(rec(*words), int(columns), streams=("stdout", "stderr"))
    assert "rating" in drawn


def test_a_closed_output_is_no_reason_to_fail(run: Path) -> None:
    command = rec("topk", "--user", "42", "--run", str(run), "--json")
    closed = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, check=False
    )
    assert closed.returncode == 0
    assert closed.stderr == b""
