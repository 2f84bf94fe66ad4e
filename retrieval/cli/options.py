"""Options that several commands share, and what some of them mean."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer.models import OptionInfo

from index.kinds import Kind
from retrieval.cli.display import note
from retrieval.errors import RequestError, unknown
from retrieval.options import Device, Engine, Preset, Protocol, RankBy, Unknown

RUNS = Path("runs")

# For measuring to choose the kind of an index.
AUTO = "auto"

# Names that the help has room for beside an option.
SHORT = 3

# Groups of options in the help.
WHO, WHICH, MODEL, OUTPUT = "Who asks", "Which movies", "Model", "Output"
ENGINE = "Engine"


def choice(
    what: str,
    names: type[StrEnum],
    *options: str,
    words: str,
    panel: str | None = None,
    hidden: bool = False,
) -> OptionInfo:
    """Return an option whose value is one of a few names; of another one it says what is nearest.

    Args:
        what: Word for what is chosen.
        names: Values there are.
        options: Spellings of the option.
        words: Sentence for the help.
        panel: Group of the option in the help.
        hidden: Whether the help leaves it out.
    """

    def parse(text: str) -> StrEnum:
        name = text.strip().lower()
        if name not in list(names):
            raise unknown(what, text, names)
        return names(name)

    option: OptionInfo = typer.Option(
        *options,
        parser=parse,
        metavar="|".join(names) if len(names) <= SHORT else "NAME",
        autocompletion=completion(names),
        help=words,
        rich_help_panel=panel,
        hidden=hidden,
    )
    return option


def completion(names: Iterable[str]) -> Callable[[], list[str]]:
    """Return what a shell completes a value from."""
    return lambda: [str(name) for name in names]


def _pairs() -> list[str]:
    from retrieval.pairs.towers import PAIRS

    return list(PAIRS)


def _settings() -> list[str]:
    from retrieval.pipeline.settings import preset_settings

    return [f"{row.name}=" for row in preset_settings(Preset.DEFAULT, _pairs()).rows()]


EngineOption = Annotated[
    Engine,
    choice(
        "engine",
        Engine,
        "--engine",
        words="Where the work is done: local, or ray for many processes and machines.",
        panel=ENGINE,
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Processes of the engine ray; by default one for each CPU.",
        rich_help_panel=ENGINE,
    ),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Ray cluster to join, auto for the one here; by default Ray starts on this machine.",
        rich_help_panel=ENGINE,
    ),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run", help="Folder of the run; by default the newest whole run under runs/ answers."
    ),
]
PresetOption = Annotated[
    Preset | None,
    choice(
        "preset",
        Preset,
        "--preset",
        words=f"How much to spend on training: {', '.join(Preset)}; default is default.",
        panel=MODEL,
    ),
]
TowersOption = Annotated[
    str | None,
    typer.Option(
        metavar="PAIR,...",
        autocompletion=_pairs,
        help="Tower pairs to train, as in neural,bayesian,sequence; by default the preset says.",
        rich_help_panel=MODEL,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PAIR.FIELD=VALUE",
        autocompletion=_settings,
        help="Change one setting, as in sequence.epochs=40; may be given again.",
        rich_help_panel=MODEL,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        help="File of settings; they win over the preset's, and --set wins over them.",
        rich_help_panel=MODEL,
    ),
]
DeviceOption = Annotated[
    Device,
    choice("device", Device, "--device", words="Where torch trains.", panel=MODEL),
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="Seed of everything random.", rich_help_panel=MODEL)
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL|PATH",
        help="Log of events: a SQLite file, by default beside the run, or postgresql://...",
    ),
]
KeepOption = Annotated[
    int,
    typer.Option(
        "--keep",
        min=0,
        help="Number of versions that answered before which the run keeps, to go back to.",
        rich_help_panel=OUTPUT,
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", help="Show no progress.", rich_help_panel=OUTPUT)
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel=OUTPUT)
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", metavar="ID", help="Id of a known user.", rich_help_panel=WHO),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time of asking: 2000, 2000-12-31T20:00, seconds since 1970, or now; else not known.",
        rich_help_panel=WHO,
    ),
]
SittingOption = Annotated[
    bool,
    typer.Option(
        "--in-sitting",
        help="The user goes on watching after the last event; else the user comes back later.",
        rich_help_panel=WHO,
    ),
]
HistoryOption = Annotated[
    str | None,
    typer.Option(
        metavar="MOVIE:RATING,...",
        help='Ratings, "1193:5,661:3", instead of what is stored; "+1193:5" adds to it.',
        rich_help_panel=WHO,
    ),
]
GenderOption = Annotated[
    str | None, typer.Option(help="Gender of a new user.", rich_help_panel=WHO)
]
AgeOption = Annotated[
    float | None, typer.Option(help="Age of a new user, in years.", rich_help_panel=WHO)
]
OccupationOption = Annotated[
    str | None,
    typer.Option(help="Occupation of a new user, spelled as in the data.", rich_help_panel=WHO),
]
RankOption = Annotated[
    RankBy | None,
    choice(
        "ranking",
        RankBy,
        "--rank-by",
        words="What ranks the list; by default validation chose.",
        panel=WHICH,
    ),
]
GenreOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only movies of this genre; given again, of any of them.", rich_help_panel=WHICH
    ),
]
YearOption = Annotated[
    str | None,
    typer.Option(
        metavar="YEAR|YEAR-YEAR",
        help="Only movies of 1994, or of 1990-1999.",
        rich_help_panel=WHICH,
    ),
]
AllowOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Only movies of this CSV or Parquet file with a column movie_id.",
        rich_help_panel=WHICH,
    ),
]
DenyOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="No movies of this CSV or Parquet file with a column movie_id.",
        rich_help_panel=WHICH,
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help='Only movies that meet it: country=FR, "minutes<100", kids; given again, all of them.',
        rich_help_panel=WHICH,
    ),
]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME=VALUE",
        help="What else is known of a new user, as in plan=family; may be given again.",
        rich_help_panel=WHO,
    ),
]
DiversityOption = Annotated[
    float,
    typer.Option(help="From 0, the best, to 1, the least alike.", rich_help_panel=WHICH),
]
SeenOption = Annotated[
    bool, typer.Option("--include-seen", help="List seen movies too.", rich_help_panel=WHICH)
]
HISTORIES_HELP = (
    "CSV or Parquet file user_id,movie_id,rating[,timestamp]: histories of these users instead."
)
OUT_HELP = "File for the answers: CSV, or FILE.parquet; - is standard output."
UNKNOWN_HELP = "What becomes of users and movies that the run does not know."
ProtocolOption = Annotated[
    Protocol,
    choice(
        "protocol",
        Protocol,
        "--protocol",
        words=f"Which events are held out: {', '.join(Protocol)}.",
    ),
]
UnknownOption = Annotated[Unknown, choice("choice", Unknown, "--unknown", words=UNKNOWN_HELP)]
RecallOption = Annotated[
    float,
    typer.Option(
        help="Share of the exact results that an approximate index must find.",
        rich_help_panel=MODEL,
    ),
]


def run_or_newest(run: Path | None) -> Path:
    """Return the folder of a run; the newest whole one, which is then said, where none is named."""
    from retrieval.run.folder import newest_run

    if run is None:
        run = newest_run(RUNS)
        note(f"using {run}, the newest run")
    return run


def check_engine(engine: Engine, workers: int | None, address: str | None) -> None:
    """Raise a `RequestError` if options of the engine ray are given to another one."""
    if engine is Engine.RAY:
        return
    for option, value in (("--workers", workers), ("--ray-address", address)):
        if value is not None:
            raise RequestError(f"{option} {value} is for the engine ray; give --engine ray too")


def kind_of(name: str) -> Kind | None:
    """Read the kind of an index; None is for measuring to choose."""
    if name.strip().lower() == AUTO:
        return None
    if name.strip().lower() not in list(Kind):
        raise unknown("kind", name, [AUTO, *Kind])
    return Kind(name.strip().lower())


def needed(out: Path | None) -> Path:
    """Return a place for answers.

    Raises:
        RequestError: None is given.
    """
    if out is None:
        raise RequestError("where to? give --out FILE.csv for the answers")
    return out
