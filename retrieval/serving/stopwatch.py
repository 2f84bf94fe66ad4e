"""Where the time of one answer goes, stage by stage."""

import time


class StageTimes:
    """Seconds that one request spends in each stage, from when this is made.

    It belongs to one request and to the thread that answers it. Nothing is measured where a
    request brings none.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage, which began where the one before it ended.

        Args:
            stage: Its name; the seconds of stages of one name add up.
        """
        moment = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + moment - self._last
        self._last = moment


def lap(timer: StageTimes | None, stage: str) -> None:
    """End a stage of a request, if anybody measures it.

    Args:
        timer: Stage times of the request.
        stage: Its name.
    """
    if timer is not None:
        timer.lap(stage)
