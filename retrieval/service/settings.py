"""What a service is to do: where its run and its log are, who may ask, and how much at once."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from retrieval.options import LogLevel

# Users or events of one body, whatever the settings allow: more are not even looked at. Nor is what
# follows a malformed one, as a length is that of those which are in order.
MOST_SENT = 10_000

# Bytes of one megabyte, as bodies are measured.
MEGABYTE = 2**20


class ServiceSettings(BaseModel):
    """Settings of one service, the same in each of its workers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path = Field(description="folder of the run that answers")
    database: str = Field(description="URL of the log, or the path of a SQLite file")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=64)
    keys_file: Path | None = Field(default=None, description="file of API keys, one a line")
    cors: tuple[str, ...] = Field(
        default=(), description="origins of other sites whose pages may ask"
    )
    log_level: LogLevel = LogLevel.INFO

    most_k: int = Field(default=1000, ge=1, description="longest list")
    most_users: int = Field(
        default=256, ge=1, le=MOST_SENT, description="most users of one question"
    )
    most_events: int = Field(
        default=1000, ge=1, le=MOST_SENT, description="most events of one request"
    )
    most_history: int = Field(
        default=2000, ge=0, le=MOST_SENT, description="most events of one person in a question"
    )
    most_body: int = Field(default=4 * MEGABYTE, ge=1024, description="bytes of a body")

    poll_seconds: float = Field(
        default=1.0, gt=0, description="between looks at which version answers"
    )
    refresh_seconds: int = Field(
        default=300,
        ge=1,
        description="how long a list of who was here today is kept; another, twelve times that",
    )
    cached_users: int = Field(
        default=10_000, ge=0, description="users whose state is kept, a worker"
    )
    prepared_users: int = Field(
        default=8_000,
        ge=0,
        description="users whose lists are made before they ask, in each worker: at most four "
        "fifths of cached_users",
    )


def database_beside(run: Path) -> str:
    """Return the place of the log of a run, where nobody says one: beside its folder."""
    return str(run.resolve().with_name(f"{run.resolve().name}-events.db"))
