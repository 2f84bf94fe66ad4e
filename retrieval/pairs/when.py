"""When a question is asked: in a sitting, before the user comes back, or at a time."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Windows
from retrieval.data.sittings import PAUSE


class When(StrEnum):
    """When a question is asked."""

    COMING_BACK = "coming-back"  # before the user's next visit, whenever that is
    IN_SITTING = "in-sitting"  # right after the last event
    AT = "at"  # at a time that is known


def comes_back(
    when: When, windows: Windows, last: NDArray[np.int64], present: NDArray[np.int64] | int
) -> NDArray[np.bool_]:
    """Return whether users ask for another visit than that of their last event, `(B,)`.

    They do not at a time before the present: what was popular then is not known, and most such
    questions are about what is known to have come next.

    Args:
        when: When the questions are asked.
        windows: `(B,)` with the times of asking.
        last: `(B,)` seconds of the last event in each window; whatever where there is none.
        present: Seconds, one for all or `(B,)`, until when it is known what is popular.
    """
    match when:
        case When.COMING_BACK:
            return np.ones(len(last), dtype=bool)
        case When.IN_SITTING:
            return np.zeros(len(last), dtype=bool)
        case When.AT:
            after = windows.times - last > PAUSE
            return np.asarray((windows.counts > 0) & after & (windows.times >= present))
