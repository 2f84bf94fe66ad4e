import hashlib
import io
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from interrupted import Recorded

from retrieval.data.fetch import fetch
from retrieval.errors import FetchError, RequestError

# The set whose checksum lies beside it, so that any archive can stand for it.
NAME = "ml-latest-small"
CONTENT = {"ratings.csv": bytes(range(256)) * 400, "deep/notes.txt": b"below"}


class Mirror:
    """A server on loopback, what it serves, and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None  # bytes after which it hangs up
        self.ranges = True  # whether it heeds Range
        self.asked: list[tuple[str, str | None]] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append((request.path, wanted))
        whole = self.files.get(request.path)
        if whole is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        start = start if self.ranges else 0
        if start and start >= len(whole):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(whole)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            place = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
            request.send_header("Content-Range", place)
        request.send_header("Content-Length", str(len(whole) - start))
        request.end_headers()
        is_sum = request.path.endswith(".md5")
        request.wfile.write(whole[start:] if is_sum else whole[start : self.cut])

    def put(self, archive: bytes) -> None:
        self.files[f"/{NAME}.zip"] = archive
        self.files[f"/{NAME}.zip.md5"] = f"{_md5(archive)}  {NAME}.zip\n".encode()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, data in content.items():
            pack.writestr(name, data)
    return buffer.getvalue()


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


ARCHIVE = _zipped({f"{NAME}/": b"", **{f"{NAME}/{name}": data for name, data in CONTENT.items()}})


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    mirror = Mirror()
    mirror.put(ARCHIVE)
    thread = Thread(target=mirror.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield mirror
    mirror.server.shutdown()
    mirror.server.server_close()
    thread.join()


def test_a_download_is_unpacked_without_its_top_folder(mirror: Mirror, tmp_path: Path) -> None:
    target = tmp_path / "data" / "small"
    assert fetch(NAME, target, source=mirror.url) == target
    assert _content(target) == CONTENT
    assert list(target.parent.iterdir()) == [target]


def test_a_download_tells_how_many_bytes_are_there(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = 40_000
    for done in (0, 40_000):
        told = Recorded()
        try:
            fetch(NAME, tmp_path / "small", source=mirror.url, progress=told)
        except FetchError:
            assert told.steps == 40_000
        else:
            assert told.steps == len(ARCHIVE)
            assert told.first == done
        assert told.stages == [(f"downloading {mirror.url}/{NAME}.zip", len(ARCHIVE))]
        mirror.cut = None


def test_fetching_shows_nothing_by_itself(
    mirror: Mirror, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch(NAME, tmp_path / "small", source=mirror.url)
    assert capfd.readouterr() == ("", "")


def test_fetching_needs_no_pandas() -> None:
    program = "import sys, retrieval.data.fetch; print({'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"set()\n"


def test_a_download_resumes_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = 40_000
    with pytest.raises(FetchError, match=NAME):
        fetch(NAME, tmp_path / "small", source=mirror.url)
    assert not (tmp_path / "small").exists()
    mirror.cut = None
    fetch(NAME, tmp_path / "small", source=mirror.url)
    assert mirror.asked[-1] == (f"/{NAME}.zip", "bytes=40000-")
    assert _content(tmp_path / "small") == CONTENT


def test_a_server_that_ignores_ranges_starts_the_file_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = 40_000
    with pytest.raises(FetchError):
        fetch(NAME, tmp_path / "small", source=mirror.url)
    mirror.cut, mirror.ranges = None, False
    fetch(NAME, tmp_path / "small", source=mirror.url)
    assert mirror.asked[-1][1] is not None
    assert _content(tmp_path / "small") == CONTENT


def test_a_download_stopped_at_its_very_end_is_taken_as_it_is(
    mirror: Mirror, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.zip.part").write_bytes(ARCHIVE)
    fetch(NAME, tmp_path / "small", source=mirror.url)
    assert mirror.asked[-1] == (f"/{NAME}.zip", f"bytes={len(ARCHIVE)}-")
    assert _content(tmp_path / "small") == CONTENT


def test_a_wrong_checksum_is_refused_and_the_download_thrown_away(
    mirror: Mirror, tmp_path: Path
) -> None:
    right = mirror.files[f"/{NAME}.zip"]
    mirror.files[f"/{NAME}.zip"] = right[:5000] + bytes([right[5000] ^ 1]) + right[5001:]
    with pytest.raises(FetchError, match=_md5(right)):
        fetch(NAME, tmp_path / "small", source=mirror.url)
    assert list(tmp_path.iterdir()) == []
    mirror.put(right)
    fetch(NAME, tmp_path / "small", source=mirror.url)
    assert _content(tmp_path / "small") == CONTENT


def test_the_published_checksum_of_a_fixed_set_is_the_one_that_counts(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.files["/ml-1m.zip"] = ARCHIVE
    with pytest.raises(FetchError, match="c4d9eecfca2ab87c1945afe126590906"):
        fetch("ml-1m", tmp_path / "ml-1m", source=mirror.url)
    assert list(tmp_path.iterdir()) == []


def test_what_a_server_does_not_have_is_told_with_its_address(
    mirror: Mirror, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=f"{mirror.url}/ml-1m.zip.*404"):
        fetch("ml-1m", tmp_path / "ml-1m", source=mirror.url)


def test_a_server_that_is_not_there_is_an_error_a_user_can_read(
    mirror: Mirror, tmp_path: Path
) -> None:
    mirror.server.server_close()
    with pytest.raises(FetchError, match=mirror.url):
        fetch("ml-1m", tmp_path / "ml-1m", source=mirror.url)


def test_a_folder_that_is_there_is_left_alone(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"keep")
    assert fetch(NAME, tmp_path, source=mirror.url) == tmp_path
    assert _content(tmp_path) == {"mine.txt": b"keep"}
    assert mirror.asked == []


def test_an_unknown_name_is_answered_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'ml-2m'; did you mean ml-.*ml-100k, ml-1m, .*ml-lat"):
        fetch("ml-2m", tmp_path / "ml-2m")


@pytest.mark.parametrize("packed", [True, False])
def test_a_local_mirror_serves_archives_and_folders(tmp_path: Path, *, packed: bool) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    if packed:
        (mirror / f"{NAME}.zip").write_bytes(ARCHIVE)
    else:
        for name, data in CONTENT.items():
            (mirror / NAME / name).parent.mkdir(parents=True, exist_ok=True)
            (mirror / NAME / name).write_bytes(data)
    before = _content(mirror)
    fetch(NAME, tmp_path / "small", source=str(mirror))
    assert _content(tmp_path / "small") == CONTENT
    assert _content(mirror) == before


def test_a_local_archive_is_checked_and_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "ml-1m.zip").write_bytes(ARCHIVE)
    with pytest.raises(FetchError, match=_md5(ARCHIVE)):
        fetch("ml-1m", tmp_path / "target", source=str(tmp_path))
    assert _content(tmp_path) == {"ml-1m.zip": ARCHIVE}


def test_a_local_mirror_without_the_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=rf"{tmp_path}.*neither ml-1m.zip nor ml-1m/"):
        fetch("ml-1m", tmp_path / "target", source=str(tmp_path))


@pytest.mark.parametrize("member", [f"{NAME}/../../escaped", "/escaped", f"{NAME}/deep/../../x"])
def test_a_member_that_leaves_the_folder_is_refused(tmp_path: Path, member: str) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / f"{NAME}.zip").write_bytes(_zipped({f"{NAME}/good": b"1", member: b"2"}))
    with pytest.raises(FetchError, match=r"refused"):
        fetch(NAME, tmp_path / "a" / "small", source=str(mirror))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{NAME}.zip"]
    assert not Path("/escaped").exists()


def test_a_file_that_is_no_archive_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.zip").write_bytes(b"<html>sorry</html>")
    with pytest.raises(FetchError, match=r"no zip archive"):
        fetch(NAME, tmp_path / "small", source=str(tmp_path))
    assert not (tmp_path / "small").exists()


def _put(folder: Path, archive: bytes) -> Path:
    """Make a local mirror."""
    mirror = folder / "mirror"
    mirror.mkdir()
    (mirror / f"{NAME}.zip").write_bytes(archive)
    return mirror


def _refused(folder: Path, archive: bytes) -> str:
    """Return the one line that refuses an archive; nothing may be left behind."""
    mirror = _put(folder, archive)
    with pytest.raises(FetchError) as caught:
        fetch(NAME, folder / "data" / "small", source=str(mirror))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [f"{NAME}.zip"]
    assert not (folder / "data" / "small").exists()
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 500
    return line


def test_a_damaged_archive_is_told_in_one_line(tmp_path: Path) -> None:
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as pack:
        pack.writestr(f"{NAME}/ratings.csv", b"1,2,3\n" * 4000)
        pack.writestr(f"{NAME}/movies.csv", b"1,x\n" * 400)
    whole = deflated.getvalue()
    rng = np.random.default_rng(0)
    told, lines = 0, list[str]()
    for trial in range(300):
        folder = tmp_path / str(trial)
        folder.mkdir()
        broken = bytearray(whole)
        if trial % 3:
            for place in rng.integers(len(whole), size=1 + trial % 4):
                broken[place] ^= 1 << int(rng.integers(8))
        else:
            del broken[int(rng.integers(len(whole))) :]
        mirror = _put(folder, bytes(broken))
        try:
            fetch(NAME, folder / "small", source=str(mirror))
        except FetchError as error:
            lines.append(str(error))
        assert (folder / "small").exists() == (len(lines) == told)
        told = len(lines)
    assert all(line.isprintable() for line in lines)
    assert told > 150


def test_an_encrypted_archive_is_told(tmp_path: Path) -> None:
    archive = bytearray(_zipped({f"{NAME}/ratings.csv": b"1"}))
    for record, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        archive[archive.index(record) + flags] |= 1
    assert "encrypted" in _refused(tmp_path, bytes(archive))


def test_an_archive_that_unpacks_to_far_too_much_is_refused_before(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as pack:
        for part in range(5):
            pack.writestr(f"{NAME}/{part}.csv", bytes(2**24))
    assert "5 files of 83,886,080 bytes" in _refused(tmp_path, bomb.getvalue())


def test_an_archive_of_very_many_files_is_refused(tmp_path: Path) -> None:
    archive = _zipped({f"{NAME}/{number}": b"" for number in range(10_001)})
    assert "10,001 files" in _refused(tmp_path, archive)


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\\..\\b", "a\u202eb", "a\nb"])
def test_a_member_of_an_odd_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "refused" in _refused(tmp_path, _zipped({f"{NAME}/{name}": b"1"}))


def test_a_member_of_a_name_too_long_is_told(tmp_path: Path) -> None:
    _refused(tmp_path, _zipped({f"{NAME}/{'x' * 5000}": b"1"}))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo(f"{NAME}/ratings.csv")
    link.external_attr = 0o120777 << 16
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pack:
        pack.writestr(link, "/etc/passwd")
    assert "refused" in _refused(tmp_path, archive.getvalue())


@pytest.mark.parametrize("again", [f"{NAME}/a", f"{NAME}//a", f"{NAME}/./a"])
def test_a_member_that_comes_twice_is_refused(tmp_path: Path, again: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pack, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pack.writestr(f"{NAME}/a", "1")
        pack.writestr(again, "2")
    assert "twice" in _refused(tmp_path, archive.getvalue())


def test_a_file_where_another_has_a_folder_is_told(tmp_path: Path) -> None:
    _refused(tmp_path, _zipped({f"{NAME}/a": b"1", f"{NAME}/a/b": b"2"}))


def test_a_full_disk_is_told_and_nothing_left(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    monkeypatch.setattr("shutil.copyfile", full)
    (tmp_path / "a" / NAME).mkdir(parents=True)
    (tmp_path / "a" / NAME / "ratings.csv").write_bytes(b"1")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / f"{NAME}.zip").write_bytes(ARCHIVE)
    for source in (str(tmp_path / "a"), str(tmp_path / "b"), mirror.url):
        with pytest.raises(FetchError, match="No space left on device"):
            fetch(NAME, tmp_path / "data" / "small", source=source)
        assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_of_pipes_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "mirror" / NAME).mkdir(parents=True)
    os.mkfifo(tmp_path / "mirror" / NAME / "ratings.csv")
    with pytest.raises(FetchError, match="named pipe"):
        fetch(NAME, tmp_path / "small", source=str(tmp_path / "mirror"))
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("way", ["link", "pipe"])
def test_a_partial_download_that_is_no_plain_file_is_left_alone(
    mirror: Mirror, tmp_path: Path, way: str
) -> None:
    part, mine = tmp_path / f"{NAME}.zip.part", tmp_path / "mine.txt"
    mine.write_bytes(b"keep")
    if way == "link":
        part.symlink_to(mine)
    else:
        os.mkfifo(part)
    with pytest.raises(FetchError, match="is in the way"):
        fetch(NAME, tmp_path / "small", source=mirror.url)
    assert mine.read_bytes() == b"keep"


@pytest.mark.parametrize("address", ["nonsense://x", "http://[::1", "http://a b", "http://\udcff/"])
def test_an_address_that_is_none_is_told(tmp_path: Path, address: str) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(NAME, tmp_path / "small", source=address)
    assert str(caught.value).isprintable()


def test_a_target_that_is_a_link_to_nothing_or_a_file_is_left_alone(tmp_path: Path) -> None:
    mirror = _put(tmp_path, ARCHIVE)
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "file").write_bytes(b"keep")
    for name in ("link", "file"):
        with pytest.raises(FetchError, match="no folder"):
            fetch(NAME, tmp_path / name, source=str(mirror))
    assert (tmp_path / "link").is_symlink()
