"""The log lines of a service: one JSON object a line, on standard error."""

import logging
import sys
from datetime import UTC, datetime

import orjson

# What can be said about a line besides its message, and nothing else: no headers, no bodies.
FACTS = (
    *("request_id", "method", "route", "status", "ms", "run", "user_id", "movie_id", "events"),
    *("workers", "address", "database"),
)


# Loggers that may have handlers of their own, which would write each line again.
OWN_HANDLERS = ("retrieval", "uvicorn", "uvicorn.error", "uvicorn.access")


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object: time, level, logger, message and facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FACTS if hasattr(record, name)}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logs(level: str) -> None:
    """Write what any library logs to standard error, as JSON lines.

    Args:
        level: The least that is written, as `LogLevel` names it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    # Its lines repeat each request, with the address of who asks.
    logging.getLogger("uvicorn.access").disabled = True
