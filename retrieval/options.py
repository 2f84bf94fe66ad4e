"""Closed choices that the command line offers."""

from enum import StrEnum


class Preset(StrEnum):
    """How much to spend on training."""

    QUICK = "quick"
    DEFAULT = "default"
    BEST = "best"
    NOTEBOOK = "notebook"  # the published model, to the letter


class LogLevel(StrEnum):
    """The least that a service logs."""

    DEBUG = "debug"  # each request too
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Device(StrEnum):
    """Where the pairs are trained that torch trains: sequence, neural, notebook."""

    AUTO = "auto"  # on a GPU if torch can use one
    CPU = "cpu"
    CUDA = "cuda"


class Engine(StrEnum):
    """Where large work is done."""

    LOCAL = "local"  # in this process
    RAY = "ray"  # in processes of a Ray cluster


class RankBy(StrEnum):
    """What a list is ranked by."""

    RATING = "rating"  # the rating that is predicted
    WATCH = "watch"  # what is likely to be watched next
    BLEND = "blend"  # both, weighed as validation wants


class Repeats(StrEnum):
    """Which events of one movie by one user count."""

    LAST = "last"
    FIRST = "first"
    ALL = "all"


class Unknown(StrEnum):
    """What becomes of questions in a file about users or movies that a run does not know."""

    ERROR = "error"  # nothing is answered
    SKIP = "skip"  # they are named, and the others answered
    NEW = "new"  # the users are answered as new ones without a history, the movies skipped


class Split(StrEnum):
    """How ratings are held out for an evaluation."""

    RATING = "rating"  # one of 10 random folds
    RATING80 = "rating80"  # one of 5 random folds
    LEAVE_ONE = "leave-one"  # each user's last movie
    TIME = "time"  # ratings after the 80 % point of time, of users known before it
    NEW_USERS = "new-users"  # every rating of 10 % of the users
    NEW_MOVIES = "new-movies"  # every rating of 5 % of the rated movies


class Protocol(StrEnum):
    """How a run is evaluated: by a split, or by what comes after a cut."""

    RATING = Split.RATING
    RATING80 = Split.RATING80
    LEAVE_ONE = Split.LEAVE_ONE
    TIME = Split.TIME
    NEW_USERS = Split.NEW_USERS
    NEW_MOVIES = Split.NEW_MOVIES
    TEMPORAL = "temporal"


class Target(StrEnum):
    """Events after a cut in time that lists are asked to find."""

    FIRST = "first"  # each user's first one
    LAST = "last"  # each user's last one
    SUCCESSIVE = "successive"  # every one, with all events before it
    VISIT = "visit"  # each user's first sitting, at least a day after the last event before the cut
    WINDOW = "window"  # all of them, asked at the cut
