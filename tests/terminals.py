"""A terminal of any width, for a process to draw on."""

import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Sequence


def shown_on_terminal(
    command: Sequence[str], width: int, *, streams: Sequence[str] = ("stdout",), **env: str
) -> tuple[str, bytes]:
    """Return what a command draws on a terminal, and what it writes into a pipe.

    Args:
        command: A program and its arguments.
        width: Columns of the terminal.
        streams: Those that are the terminal; the other one is the pipe.
        env: Changes to the environment.
    """
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    kept |= {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    drawn = {name: inner if name in streams else subprocess.PIPE for name in ("stdout", "stderr")}
    said = b""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=drawn["stdout"],
        stderr=drawn["stderr"],
        env=kept | env,
    ) as process:
        os.close(inner)
        while True:
            try:
                piece = os.read(outer, 1 << 16)
            except OSError:  # whoever wrote there has ended
                break
            said += piece
        pipe = process.stderr if process.stdout is None else process.stdout
        rest = b"" if pipe is None else pipe.read()
    os.close(outer)
    assert process.returncode == 0, (said, rest)
    return said.decode(), rest
