"""How a benchmark reports: the machine, lines for people, and the same figures as JSON."""

import argparse
import json
import math
import os
import platform
import resource
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

# Of the JSON that `Report.save` writes.
SCHEMA = 1


def arguments(text: str) -> argparse.ArgumentParser:
    """Return a parser of what all benchmarks are given: a seed, and a file for the figures.

    Args:
        text: Docstring of the benchmark, which `--help` prints as it is.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures, as JSON")
    return parser


def add_rectools(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark ask models of RecTools, which has an environment of its own.

    Args:
        parser: Parser of the benchmark.
    """
    parser.add_argument("--rectools", type=Path, help="Python of an environment with RecTools")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=("sasrec", "sasrec-sampled", "esasrec", "hstu"),
        default=[],
        help="models of RecTools that are tried; none is all",
    )


def add_plot(parser: argparse.ArgumentParser, name: str) -> None:
    """Let a benchmark draw a plot.

    Args:
        parser: Parser of the benchmark.
        name: Name of the plot under `docs/plots/`, where it goes if no other file is named.
    """
    path = Path(__file__).parents[1] / "docs" / "plots" / f"{name}.svg"
    parser.add_argument(
        "--plot",
        type=Path,
        nargs="?",
        const=path,
        metavar="FILE",
        help=f"draw docs/plots/{name}.svg",
    )


class Report:
    """The figures of a benchmark.

    Args:
        asked: What a parser that `arguments` made has read.
        protocol: What is measured, and on what.
    """

    def __init__(self, asked: argparse.Namespace, protocol: str) -> None:
        self._asked, self._protocol = asked, protocol
        self.rows: list[dict[str, object]] = []
        self.say(describe())
        self.say(f"{protocol}; seed {asked.seed}")

    def say(self, line: str) -> None:
        """Print a line that is no figure."""
        print(line, flush=True)

    def add(self, line: str, **row: object) -> None:
        """Print a line and keep what it says.

        Args:
            line: Words and figures for people.
            row: The figures by name.
        """
        self.say(line)
        self.rows.append(row)

    def save(self) -> None:
        """Write all rows, if a file was asked for."""
        if self._asked.json is None:
            return
        whole = {
            "schema": SCHEMA,
            "protocol": self._protocol,
            "seed": self._asked.seed,
            "machine": machine(),
            "rows": self.rows,
        }
        text = json.dumps(_plain(whole), indent=2, allow_nan=False)
        self._asked.json.write_text(text + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """Return what a figure is measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def describe() -> str:
    """Return what a figure is measured on, on one line."""
    facts = machine()
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, "
        f"Python {facts['python']}, torch {facts['torch']}, numpy {facts['numpy']}"
    )


def peak_megabytes() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _plain(value: object) -> object:
    """Return facts as JSON knows them: what is no finite number is null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int | str) else str(value)
