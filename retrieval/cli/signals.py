"""Signals that end the program: they leave it in order, so that temporary files go."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Of exit codes, by custom, what a signal's number is added to.
SIGNALLED = 128


@contextmanager
def orderly_exits() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGINT, which is Ctrl-C, raise `SystemExit` in the block.

    A signal that is ignored, as under nohup, stays so.
    """
    taken = {}
    if threading.current_thread() is threading.main_thread():  # no other may take signals
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            before = signal.getsignal(number)
            if before in {signal.SIG_DFL, signal.default_int_handler}:
                taken[number] = before
    received: list[int] = []

    def leave(number: int, _: object) -> None:
        received.append(number)
        raise SystemExit(SIGNALLED + number)

    for number in taken:
        signal.signal(number, leave)
    try:
        yield
    except Exception as error:
        if received:  # of which a library made another error, as some do while they are imported
            raise SystemExit(SIGNALLED + received[0]) from error
        raise
    finally:
        for number, before in taken.items():
            signal.signal(number, before)
