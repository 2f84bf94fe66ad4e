"""Data sets from where they are published: checked, resumed, and whole or not there."""

import hashlib
import lzma
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import httpx

from retrieval.errors import FetchError, shown, unknown
from retrieval.progress import SILENT, Progress
from retrieval.storage.files import new_folder

GROUPLENS = "https://files.grouplens.org/datasets/movielens"

# Published md5 sums. One set changes from time to time; its sum lies beside it.
CHECKSUMS: dict[str, str | None] = {
    "ml-100k": "0e33842e24a9c977be4e0107933c0723",
    "ml-1m": "c4d9eecfca2ab87c1945afe126590906",
    "ml-10m": "ce571fd55effeba0271552578f2648bd",
    "ml-20m": "cd245b17a1ae2cc31bb14903e1204af3",
    "ml-25m": "6b51fb2759a8657d3bfcbfc42b592ada",
    "ml-32m": "d472be332d4daa821edc399621853b57",
    "ml-latest-small": None,
}

# What a data set unpacks to at most: so many bytes, and more for each of the archive's. The largest
# is five times its archive.
UNPACKED, UNPACKED_TIMES = 2**26, 20
MOST_FILES = 10_000

# What a damaged, cut, encrypted or foreign archive raises.
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError, MemoryError),
)

TIMEOUT = httpx.Timeout(30, connect=10)


def fetch(
    name: str, target: Path, *, source: str | None = None, progress: Progress = SILENT
) -> Path:
    """Bring a MovieLens data set into the folder `target`; one that is there is left alone.

    Args:
        name: Name that GroupLens gives the data set.
        target: Folder that the files go into.
        source: Folder that holds NAME.zip or NAME/, or URL that NAME.zip lies under; None is
            GroupLens.
        progress: Display of how far the download is.

    Raises:
        RequestError: An unknown name.
        FetchError: It cannot be had, or is not what was published.
    """
    if name not in CHECKSUMS:
        raise unknown("data set", name, CHECKSUMS)
    try:
        _fetch(name, target, source or GROUPLENS, progress)
    except (OSError, MemoryError) as error:
        raise FetchError(f"{name} cannot be brought to {target}: {reason(error)}") from error
    return target


def _fetch(name: str, target: Path, place: str, progress: Progress) -> None:
    if os.path.lexists(target) and not target.is_dir():
        raise FetchError(f"{target} is no folder; name one, or a name that is free")
    if target.is_dir() and any(target.iterdir()):
        return
    if "://" in place:
        archive = target.resolve().with_name(f"{name}.zip.part")
        url = f"{place.rstrip('/')}/{name}.zip"
        try:
            checksum = CHECKSUMS[name] or _published_checksum(url)
            _download(url, archive, progress)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
            raise FetchError(
                f"{url} cannot be had ({reason(error)}); try --from a mirror"
            ) from error
        _check(archive, checksum, url)
        try:
            _extract(archive, target)
        finally:
            archive.unlink()
    elif (Path(place) / name).is_dir():
        with new_folder(target) as partial:
            shutil.copytree(Path(place) / name, partial, dirs_exist_ok=True)
    elif (archive := Path(place) / f"{name}.zip").is_file():
        known = CHECKSUMS[name]
        if known is not None:
            _check(archive, known, str(archive))
        _extract(archive, target)
    else:
        raise FetchError(f"{place} holds neither {name}.zip nor {name}/; name another mirror")


def reason(error: Exception) -> str:
    """Return what an error says, on one line."""
    if isinstance(error, shutil.Error):  # of many files: the place, the copy, what went wrong
        return str(error.args[0][0][-1])
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # A second line is a link to what an HTTP status means.
    return (str(error).splitlines() or [type(error).__name__])[0]


def _published_checksum(url: str) -> str:
    answer = httpx.get(f"{url}.md5", timeout=TIMEOUT, follow_redirects=True).raise_for_status()
    found = re.search(r"\b[0-9a-f]{32}\b", answer.text)
    if found is None:
        raise FetchError(f"{url}.md5 holds no md5 but {answer.text[:60]!r}; try --from a mirror")
    return found.group()


def _download(url: str, part: Path, progress: Progress) -> None:
    """Download into a partial file, going on where an earlier download stopped."""
    part.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(part) and (part.is_symlink() or not part.is_file()):
        raise FetchError(f"{part} is in the way; remove it")
    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with httpx.stream(
        "GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True
    ) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is there; the checksum tells whether it is right
        answer.raise_for_status()
        resumes = answer.status_code == httpx.codes.PARTIAL_CONTENT
        left = int(answer.headers.get("content-length", 0))
        done = done if resumes else 0
        progress.stage(f"downloading {url}", left + done or None)
        progress.advance(done)
        with part.open("ab" if resumes else "wb") as file:
            try:
                for piece in answer.iter_bytes():
                    file.write(piece)
                    progress.advance(len(piece))
            except OSError:  # the disk is full: what is kept to go on from would keep it full
                part.unlink()
                raise


def _check(archive: Path, checksum: str, source: str) -> None:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != checksum:
        if archive.suffix == ".part":
            archive.unlink()
        raise FetchError(f"{source} has md5 {found}, published is {checksum}; fetch it again")


def _extract(archive: Path, target: Path) -> None:
    """Unpack an archive without its top folder."""
    try:
        with zipfile.ZipFile(archive) as pack, new_folder(target) as partial:
            for member, path in _members(archive, pack):
                place = partial / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with pack.open(member) as source, place.open("xb") as file:
                    shutil.copyfileobj(source, file)
            if not any(partial.iterdir()):
                raise FetchError(f"{archive.name} holds no folder of files; name another mirror")
    except ZIP_ERRORS as error:
        why = shown(error) or type(error).__name__
        raise FetchError(
            f"{archive.name} is no zip archive or damaged ({why}); fetch it again"
        ) from error


def _members(archive: Path, pack: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Return the files of an archive with their paths below its top folder; all are checked."""
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in pack.infolist():
        path = PurePosixPath(member.filename)
        odd = path.is_absolute() or ".." in path.parts or "\\" in member.filename
        odd |= not member.filename.isprintable() or stat.S_ISLNK(member.external_attr >> 16)
        encrypted = bool(member.flag_bits & 1)
        if odd or encrypted or path in files:
            why = "which is refused" if odd else "encrypted" if encrypted else "twice"
            what = f"{archive.name} holds '{shown(member.filename)}', {why}"
            raise FetchError(f"{what}; name another mirror")
        if not member.is_dir() and len(path.parts) >= 2:
            files[path] = member
    size, most = sum(member.file_size for member in files.values()), archive.stat().st_size
    if len(files) > MOST_FILES or size > UNPACKED + UNPACKED_TIMES * most:
        what = f"{archive.name} unpacks to {len(files):,} files of {size:,} bytes"
        raise FetchError(f"{what}, which is no data set; name another mirror")
    return [(member, PurePosixPath(*path.parts[1:])) for path, member in files.items()]
