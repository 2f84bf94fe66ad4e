"""Training loops on a cluster: processes of Ray Train that share every batch of one pair."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar, cast

import torch
from pydantic import BaseModel
from safetensors.torch import load, save
from torch import distributed, nn

from retrieval.distributed.cluster import Cluster
from retrieval.errors import RecError, RequestError, shown
from retrieval.options import Device
from retrieval.pairs.table import TOWER_PAIRS
from retrieval.pairs.training import TrainingData, TrainingOptions, Weighted
from retrieval.pipeline.training import LoopsOf
from retrieval.progress import SILENT, Progress

R = TypeVar("R")

# A handle of Ray, which has no types of its own where it is not installed.
Actor = Any

# Times that a pair is begun, where a process is lost.
ATTEMPTS = 3

# Processes where nobody says how many: fewer would not need a cluster.
FEWEST = 2

# Seconds between looks at how far training is, and for which a process waits for another one.
BETWEEN_LOOKS, PATIENCE = 0.25, 24 * 3600


class GlooRanks:
    """The processes of a torch process group.

    Args:
        rank: Number of this process.
        size: Number of processes.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def average(self, parameters: Iterable[nn.Parameter], weight: float) -> None:
        """Replace gradients by the mean of those of all processes, all in one message."""
        trained = list(parameters)
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in trained]
        whole = torch.cat([*(part.flatten() for part in parts), torch.ones(1)])
        # The loss of no rows is no number, and neither are its gradients.
        whole = whole.mul_(weight) if weight else torch.zeros_like(whole)
        distributed.all_reduce(whole)
        whole.div_(whole[-1].clone())
        means = torch.split(whole[:-1], [part.numel() for part in parts])
        for each, mean in zip(trained, means, strict=True):
            each.grad = mean.view_as(each)

    def total(self, values: Sequence[float]) -> list[float]:
        """Return the sum of each value over all processes."""
        sums = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(sums)
        return list(map(float, sums))

    def first(self, measure: Callable[[], Sequence[float]]) -> list[float]:
        """Return what the first process measures: elsewhere the last bit could be another one."""
        found = torch.tensor(measure() if self.rank == 0 else [], dtype=torch.float64)
        length = torch.tensor([len(found)])
        distributed.broadcast(length, src=0)
        if self.rank != 0:
            found = torch.zeros(int(length), dtype=torch.float64)
        distributed.broadcast(found, src=0)
        return list(map(float, found))


class Module(NamedTuple):
    """A module that was trained."""

    weights: bytes  # as a file of safetensors
    record: object  # what its loop returned


class _Kept:
    """Runs loops in this process, and keeps what they came to."""

    def __init__(self) -> None:
        self.modules: list[Module] = []

    def run(self, module: Weighted, loop: Callable[[], R], /) -> R:
        """Run a loop."""
        record = loop()
        weights = {name: value.contiguous() for name, value in module.state_dict().items()}
        self.modules.append(Module(save(weights), record))
        return record


class Board:
    """An actor: where the first process of a training writes what the caller shows and takes."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, tuple[object, ...]]] = []
        self._modules: list[Module] = []
        self._error: RecError | None = None

    def write(self, calls: list[tuple[str, tuple[object, ...]]]) -> None:
        """Take calls of a `Progress`."""
        self._calls += calls

    def calls(self) -> list[tuple[str, tuple[object, ...]]]:
        """Return the calls since the last look."""
        calls, self._calls = self._calls, []
        return calls

    def finish(self, modules: list[Module]) -> None:
        """Take what was trained; of an attempt that was repeated, the last one counts."""
        self._modules, self._error = modules, None

    def fail(self, error: RecError) -> None:
        """Take what went wrong."""
        self._error = error

    def outcome(self) -> tuple[list[Module], RecError | None]:
        """Return what was trained, and what went wrong."""
        return self._modules, self._error


class _Relay:
    """A `Progress` that is shown elsewhere: calls are sent a few times a second."""

    def __init__(self, board: Actor) -> None:
        self._board, self._sent, self._steps = board, 0.0, 0
        self._calls: list[tuple[str, tuple[object, ...]]] = []

    def plan(self, _stages: object) -> None:
        """Leave the plan to who shows it."""

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin a stage."""
        self._add("stage", name, steps)

    def advance(self, steps: int = 1) -> None:
        """Count steps."""
        self._steps += steps
        if time.monotonic() > self._sent + BETWEEN_LOOKS:
            self.send()

    def say(self, text: str) -> None:
        """Say what was found."""
        self._add("say", text)

    def send(self) -> None:
        """Send what was not sent yet."""
        self._count()
        self._board.write.remote(self._calls)
        self._calls, self._sent = [], time.monotonic()

    def _count(self) -> None:
        """Make one call of the steps that were counted."""
        if self._steps:
            self._calls.append(("advance", (self._steps,)))
        self._steps = 0

    def _add(self, name: str, *arguments: object) -> None:
        self._count()
        self._calls.append((name, arguments))
        self.send()


class RayLoops:
    """The loops of one pair run on a cluster.

    The first loop that is asked for starts the processes. Each of them fits the whole pair, sharing
    batches with the others, and the modules of the first process come back one after the other.

    Args:
        cluster: Where they run.
        workers: Number of processes.
        task: What they train.
        options: Options of the caller.
    """

    def __init__(
        self, cluster: Cluster, workers: int, task: "Task", options: TrainingOptions
    ) -> None:
        self._cluster, self._workers, self._task = cluster, workers, task
        self._options = options
        self._trained: deque[Module] | None = None

    def run(self, module: Weighted, _loop: Callable[[], R], /) -> R:
        """Return what the loop of the same place returned elsewhere, with its weights."""
        if self._trained is None:
            self._trained = deque(self._train())
        weights, record = self._trained.popleft()
        module.load_state_dict(load(weights))
        return cast(R, record)

    def _train(self) -> list[Module]:
        """Train the pair."""
        ray = self._cluster.ray
        board = ray.remote(num_cpus=0)(Board).remote()
        with TemporaryDirectory() as scratch:
            trainer = _trainer(self._cluster, self._workers, self._task, board, Path(scratch))
            # This thread, which takes signals, shows how far it is.
            other = ThreadPoolExecutor(1)
            fitted = other.submit(trainer.fit)
            other.shutdown(wait=False)
            while not fitted.done():
                wait([fitted], BETWEEN_LOOKS)
                _show(ray.get(board.calls.remote()), self._options.progress)
        outcome: tuple[list[Module], RecError | None] = ray.get(board.outcome.remote())
        modules, error = outcome
        if error is not None:
            raise error
        if (failure := fitted.exception()) is not None:
            raise RecError(f"training on Ray failed: {shown(failure)}") from failure
        return modules


class Task(NamedTuple):
    """What processes train."""

    pair: str
    data: TrainingData
    settings: BaseModel
    seed: int


def loops_on(cluster: Cluster, workers: int | None, device: Device) -> LoopsOf:
    """Return what lets the training loops of pairs run on a cluster.

    Pairs without such loops, as the Bayesian one, are trained by the caller.

    Args:
        cluster: Where they run.
        workers: Number of processes; None is one for each machine, and at least two.
        device: Device that the caller wants.

    Raises:
        RequestError: The processes train on no such device, or there is no room for so many.
    """
    if device is Device.CUDA:
        raise RequestError("the engine ray trains on CPUs; leave out --device, or --engine ray")
    count = max(FEWEST, cluster.machines) if workers is None else workers
    if count > cluster.cpus:
        raise RequestError(
            f"{count} workers need {count} CPUs, and the Ray cluster has {cluster.cpus}; "
            "give fewer --workers"
        )

    def loops_of(
        pair: str, data: TrainingData, settings: BaseModel, options: TrainingOptions
    ) -> RayLoops:
        return RayLoops(cluster, count, Task(pair, data, settings, options.seed), options)

    return loops_of


def _trainer(cluster: Cluster, workers: int, task: Task, board: Actor, scratch: Path) -> Actor:
    """Return what trains on a cluster.

    Args:
        cluster: Where it runs.
        workers: Number of processes.
        task: What they train.
        board: Where the first of them writes.
        scratch: Folder for what Ray Train keeps of its state.
    """
    train, of_torch = import_module("ray.train"), import_module("ray.train.torch")
    return of_torch.TorchTrainer(
        _train_share,
        train_loop_config={"task": cluster.ray.put(task), "board": board},
        torch_config=of_torch.TorchConfig(backend="gloo", timeout_s=PATIENCE),
        scaling_config=train.ScalingConfig(
            num_workers=workers,
            resources_per_worker={"CPU": cluster.cpus_of_each(workers)},
        ),
        run_config=train.RunConfig(
            name=task.pair,
            storage_path=str(scratch),
            failure_config=train.FailureConfig(max_failures=ATTEMPTS - 1),
        ),
    )


def _train_share(config: dict[str, Actor]) -> None:
    """Train a pair with other processes, as one of them.

    Args:
        config: Reference of the task, and the board.
    """
    ray, train = import_module("ray"), import_module("ray.train")
    task, board = ray.get(config["task"]), config["board"]
    context = train.get_context()
    ranks, kept = GlooRanks(context.get_world_rank(), context.get_world_size()), _Kept()
    relay = _Relay(board)
    with TemporaryDirectory() as scratch:
        options = TrainingOptions(
            seed=task.seed,
            checkpoint=Path(scratch),
            device=Device.CPU,
            progress=relay if ranks.rank == 0 else SILENT,
            ranks=ranks,
            loops=kept,
        )
        try:
            TOWER_PAIRS[task.pair].fit(task.data, task.settings, options)
        except RecError as error:
            ray.get(board.fail.remote(error))
            raise
    if ranks.rank == 0:
        relay.send()
        ray.get(board.finish.remote(kept.modules))


def _show(calls: list[tuple[str, tuple[Any, ...]]], progress: Progress) -> None:
    """Make calls of a `Progress` that were sent by another process."""
    for name, arguments in calls:
        match name:
            case "stage":
                progress.stage(*arguments)
            case "advance":
                progress.advance(*arguments)
            case _:
                progress.say(*arguments)
