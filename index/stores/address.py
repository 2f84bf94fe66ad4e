"""The address of a vector store, as it is given and as it may be kept."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

# What a collection may be called; its tables have 34 letters more, and PostgreSQL reads 63.
NAME = re.compile(r"[a-z_][a-z0-9_]{0,27}")

COLLECTION = "collection"  # the part of the query that names it
SECRETS = frozenset(
    {"password", "sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"}
)

# What the address of a Milvus server may say of TLS, in the words of Milvus's client.
SECURE = "secure"
TLS = (
    SECURE,
    "server_pem_path",
    "server_name",
    "ca_pem_path",
    "client_pem_path",
    "client_key_path",
)

# A sign that is no percent-encoding, and what to do about it.
BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
QUOTED = "in a name or password write % / ? # @ as %25 %2F %3F %23 %40"


class Engine(StrEnum):
    """Which engine a store is."""

    MILVUS = "milvus"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True)
class StoreAddress:
    """Where a store is.

    Args:
        engine: Which engine it is.
        url: Address as it was given, without the name of the collection.
        collection: Name of the collection; None where the address names none.
    """

    engine: Engine
    url: str
    collection: str | None

    @property
    def kept(self) -> str:
        """The address without a password, which may be written down."""
        parts = urlsplit(self.url)
        user, _, host = parts.netloc.rpartition("@")
        # To Milvus a name says nothing without its password, and may be a key.
        name = "" if self.engine is Engine.MILVUS else user.partition(":")[0]
        query = [(key, value) for key, value in parse_qsl(parts.query) if key not in SECRETS]
        return _unsplit(
            parts._replace(netloc=f"{name}@{host}" if name else host, query=urlencode(query))
        )


def parse_address(text: str) -> StoreAddress:
    """Read `milvus://host:port`, `milvus:///path.db` or `postgresql://...`.

    Any of them may end in `?collection=NAME`. That of a Milvus server may say `secure=true`, and
    which certificates it then needs.

    Raises:
        ValueError: It is none.
    """
    example = "write milvus://host:19530, milvus:///path.db or postgresql://host/database"
    scheme = text.partition(":")[0].lower()
    if scheme not in {*Engine, "postgres"} or "://" not in text:
        raise ValueError(f"this is no address of a store; {example}")
    try:
        parts = urlsplit(text.strip())
        _ = parts.port
    except ValueError:  # whose words may hold a part of a password
        raise ValueError(f"the address names no host and port; {QUOTED}; {example}") from None
    if "@" in parts.path + parts.query or parts.fragment or BROKEN.search(text):
        raise ValueError(f"the address cannot be read; {QUOTED}; {example}")
    engine = Engine.MILVUS if scheme == Engine.MILVUS else Engine.POSTGRESQL
    query = parse_qsl(parts.query, keep_blank_values=True)
    named = [value for key, value in query if key == COLLECTION]
    rest = [(key, value) for key, value in query if key != COLLECTION]
    if engine is Engine.MILVUS:
        _check_tls(dict(rest), parts.hostname)
        if parts.username and not parts.password:
            raise ValueError("give the key of a Milvus store as MILVUS_TOKEN, or user:password@")
        if not parts.hostname and not parts.path.strip("/"):
            raise ValueError(f"the address names no server and no file; {example}")
    if named and NAME.fullmatch(named[-1]) is None:
        raise ValueError(
            f"a collection cannot be called {named[-1]!r:.80}; use up to 28 small letters, digits "
            "and _, not beginning with a digit"
        )
    path = parts.path
    if engine is Engine.MILVUS and not parts.hostname:
        path = str(Path(path).absolute())
    # libpq reads its own words, such as options=-c..., only where blanks are written as %20.
    whole = parts._replace(scheme=engine, path=path, query=urlencode(rest, quote_via=quote))
    return StoreAddress(engine, _unsplit(whole), named[-1] if named else None)


def _check_tls(said: dict[str, str], host: str | None) -> None:
    """Check what an address of Milvus says of TLS.

    Raises:
        ValueError: It says something else, or what has no effect.
    """
    for name in said:
        if name not in TLS:
            known = ", ".join((COLLECTION, *TLS))
            raise ValueError(f"the address of a Milvus store has no {name!r}; it may have {known}")
    if said and host is None:
        raise ValueError(f"the address names a file, which has no {next(iter(said))}")
    secure = said.get(SECURE, "false")
    if secure not in {"true", "false"}:
        raise ValueError(f"{SECURE} of the address must be true or false, got {secure!r:.80}")
    if secure == "false" and len(said) > (SECURE in said):
        raise ValueError(f"the address names certificates; write {SECURE}=true with them")


def collection_name(text: str, where: str) -> str:
    """Return a name for the collection of what is called `text`.

    Args:
        text: Name, for people who look at the store.
        where: What tells it from others of that name.
    """
    readable = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:17]
    apart = hashlib.sha256(where.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"rec_{readable}_{apart}"


def _unsplit(parts: SplitResult) -> str:
    """Return an address whose authority may be empty."""
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"
