"""Movie retrieval with pairs of towers and one dot product.

    from retrieval import Event, Filter, Person, Recommender, train

Each public name is loaded when it is first used: asking loads neither torch nor pandas.

Read in this order: errors, options, progress; data (raw files to numbers and histories); pairs (a
package each, protocol first); blending; run (the folder); pipeline (training, building the index);
serving (snapshot, users, recommender); evaluation; service (the log, the engine, HTTP); cli.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.pipeline.exporting import export
    from retrieval.pipeline.training import train
    from retrieval.serving.events import Event
    from retrieval.serving.filters import Filter
    from retrieval.serving.recommender import Recommender
    from retrieval.serving.users import Person

    __version__: str

__all__ = ["Event", "Filter", "Person", "Recommender", "__version__", "export", "train"]

_DISTRIBUTION = "two-tower-rec"

_MODULES = {
    "Event": "retrieval.serving.events",
    "Filter": "retrieval.serving.filters",
    "Person": "retrieval.serving.users",
    "Recommender": "retrieval.serving.recommender",
    "export": "retrieval.pipeline.exporting",
    "train": "retrieval.pipeline.training",
}


def __dir__() -> list[str]:
    """Return the names of the package, loaded or not."""
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # to which it would say that every name is there

    def __getattr__(name: str) -> object:
        """Load a public name."""
        if name == "__version__":
            found: object = _version()
        elif name in _MODULES:
            found = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found
        return found


def _version() -> str:
    """Return the version that is installed, as packaging tools know it."""
    metadata = import_module("importlib.metadata")  # a tenth of a second that few need
    try:
        return str(metadata.version(_DISTRIBUTION))
    except metadata.PackageNotFoundError:  # run from a folder of sources
        return "0+unknown"
