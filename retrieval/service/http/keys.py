"""API keys: a file of them, and whether a request brings one."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from retrieval.errors import RequestError, shown

# Shorter ones can be guessed.
SHORTEST = 16

HASHED = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)

REMEDY = "make one with: openssl rand -hex 32"


class Keys:
    """API keys, of which only the SHA-256 is kept.

    Args:
        digests: SHA-256 of each key.
    """

    def __init__(self, digests: Iterable[bytes]) -> None:
        self._digests = tuple(digests)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._digests)

    def holds(self, key: bytes) -> bool:
        """Return whether a key is one of them, in a time that does not depend on which."""
        digest, found = hashlib.sha256(key).digest(), False
        for one in self._digests:
            found |= hmac.compare_digest(one, digest)
        return found


def read_keys(path: Path) -> Keys:
    """Read a file of one key a line, plain or as `sha256:` and 64 hexadecimal digits.

    Empty lines, and lines that begin with #, are left out.

    Raises:
        RequestError: The file cannot be read, holds no key, or one that can be guessed.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise RequestError(f"keys cannot be read from {shown(path)}: {why}; {REMEDY}") from error
    digests = []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        hashed = HASHED.fullmatch(line)
        if hashed is None and (len(line) < SHORTEST or not line.isascii() or " " in line):
            raise RequestError(
                f"{shown(path)}:{number}: a key has at least {SHORTEST} ASCII characters without "
                f"blanks; {REMEDY}"
            )
        plain = hashlib.sha256(line.encode()).digest()
        digests.append(plain if hashed is None else bytes.fromhex(hashed[1]))
    if not digests:
        raise RequestError(f"{shown(path)} holds no key; {REMEDY}")
    return Keys(digests)
