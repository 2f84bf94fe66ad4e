from rich.progress import Progress, TaskID


class Interrupted(Progress):
    """A display whose user presses Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(disable=True)
        self.left = steps

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
