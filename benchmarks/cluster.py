"""A cluster of shards: what it would take, simulated from what searches and encodings take here.

python benchmarks/cluster.py --run RUN --json docs/figures/cluster.json --page docs/scale.md --plot

Four parts, all in one command:

- units: bytes and milliseconds of a vector, a user, an event, a search and an encoding, measured on
  this machine with a catalogue that looks like the run's;
- plan: the arithmetic from these units and stated assumptions to machines, memory and money;
- loopback: two real shard processes and a router, asked at several rates, beside a simulation from
  the times that the same processes take when nobody waits;
- simulation: the cluster of the plan with and without hedged searches, with a slow machine, a slow
  shard and a failing rack, and at the utilisations that an autoscaler could hold.

Searches of shards that are larger than any that was measured are extrapolated by a power law, and
said to be. The mean of the two halves' times is brought to the law's; their spread stays.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import faiss
import numpy as np
from cluster_plan import Assumptions, Law, Line, Sizing, Units, encoders, plan, sizing
from cluster_shards import SOURCE, Answered, drive, shards
from cluster_simulation import Cluster, Failure, Outcome, Times, simulate
from cluster_units import (
    PUT,
    Pair,
    Shard,
    appending,
    batch_encoding,
    catalogue,
    encoding,
    merging,
    pair_of,
    putting,
    rounds,
    shard_of,
    user_bytes,
)
from load import percentiles
from machine import Report, add_plot, arguments
from numpy.typing import NDArray
from plots import new_plot, save

from index.neighbours import Neighbours
from index.search import Index
from index.store import save_index
from index.vectors import Vectors
from retrieval.serving.recommender import Recommender

K = 20

# A table of the page.
TABLE = re.compile(r"(<!-- (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Parts of the catalogue whose searches give the law, as shares of it.
SHARES = (1 / 8, 1 / 4)

# Shares of the capacity of two shards at which they are asked.
RATES = (0.1, 0.2, 0.4, 0.6)

# Questions that are asked alone come as far apart as so many take: processes sleep between, as they
# do at a rate.
APART = 3

UTILISATIONS = (0.3, 0.5, 0.7, 0.8, 0.9)

# Sizes of shards that are compared.
SHARDS = (1e6, 5e6, 1e7, 2.5e7, 5e7, 1e8)

# A slow machine, and a shard whose replicas are all slow.
SLOW_MACHINE, SLOW_SHARD = 5.0, 1.5

# Percentile of searches after which another replica is asked too.
HEDGE = 95.0

WHICH = (50.0, 99.0, 99.9)


class Compared(NamedTuple):
    """Two real shards at one rate, beside their simulation; milliseconds at 50 and 99 %."""

    rate: float
    share: float  # of the capacity
    measured: tuple[float, float]
    simulated: tuple[float, float]  # from times taken when nobody waited
    in_run: tuple[float, float]  # from the times of the same run
    slower: float  # mean search in the run, in times of that when nobody waited
    late: float  # ms, median of sending after a question was due


class Scenario(NamedTuple):
    """A simulated cluster."""

    name: str
    hedged: bool
    taken: tuple[float, float, float]  # ms at 50, 99 and 99.9 %
    twice: float  # share of searches that were asked twice
    utilisation: float


def main() -> None:
    """Measure, plan, simulate, report and draw."""
    asked = parsed()
    faiss.omp_set_num_threads(1)
    recommender = Recommender.load(asked.run)
    given = Assumptions(shard=asked.shard, utilisation=asked.utilisation)
    rng = np.random.default_rng(asked.seed)
    report = Report(
        asked,
        f"catalogues like that of {asked.run.name}, {recommender.index.dimension} components, "
        f"{asked.size:,} movies, recall@{K} of {asked.target:g}, one search at a time on one "
        "thread",
    )
    pages: dict[str, Sequence[str]] = {}
    units, times = measured(report, recommender, asked, rng)
    compared, network = compare(report, recommender, asked, rng)
    # What the middle message takes: others would say how busy these cores were with other work.
    times = times._replace(network=np.full(1, np.median(network) + asked.network / 1e3))
    report.say(f"a message takes {times.network[0] * 1e3:.3f} ms, {asked.network:g} of it assumed")
    pages["units"] = units_table(units)
    pages["plan"] = plan_table(report, plan(units, given))
    pages["shards"] = shards_table(
        report, [sizing(units, given, size) for size in SHARDS if size <= given.movies], given
    )
    pages["loopback"] = compared_table(compared)
    ratio = units.search.at(given.shard) / times.search.mean()
    times = times._replace(search=times.search * ratio)
    base = Cluster(
        shards=sizing(units, given, given.shard).shards,
        replicas=sizing(units, given, given.shard).replicas,
        cores=given.cores,
        routers=encoders(units, given),
        racks=given.racks,
    )
    found = list(scenarios(report, base, times, given.requests, asked))
    pages["scenarios"] = scenarios_table(found)
    swept = sweep(report, base, times, asked)
    report.save()
    if asked.page:
        asked.page.write_text(
            filled(asked.page.read_text(encoding="utf-8"), pages), encoding="utf-8"
        )
    if asked.plot:
        draw(compared, found, swept, asked.plot)


def parsed() -> argparse.Namespace:
    """Return what the command line says."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run; only read")
    parser.add_argument("--size", type=int, default=1_000_000, help="movies of the catalogue")
    parser.add_argument("--target", type=float, default=0.98, help="recall of a shard")
    parser.add_argument("--loopback", type=int, default=100_000, help="movies of two real shards")
    parser.add_argument("--asked", type=int, default=2_000, help="questions at each rate")
    parser.add_argument("--requests", type=int, default=60_000, help="simulated, a scenario")
    parser.add_argument("--shard", type=float, default=1e7, help="movies of a shard of the plan")
    parser.add_argument("--utilisation", type=float, default=0.5, help="of cores, in the plan")
    parser.add_argument(
        "--network", type=float, default=0.1, help="ms one way beside what loopback takes"
    )
    parser.add_argument("--database", help="log that takes in events, instead of a SQLite file")
    parser.add_argument("--page", type=Path, help="page whose tables are written anew")
    add_plot(parser, "cluster")
    return parser.parse_args()


def measured(
    report: Report, recommender: Recommender, asked: argparse.Namespace, rng: np.random.Generator
) -> tuple[Units, Times]:
    """Measure and report the units, and what simulations draw from, without the network."""
    of_user = user_bytes(recommender)
    encode, batch = encoding(recommender, rng), batch_encoding(recommender)
    report.add(
        f"encoding one user after a new event: {np.mean(encode) * 1e3:.2f} ms on average, "
        f"{percentiles(encode, 99)[0]:.2f} at 99 %; together {batch:,.0f} users a second",
        unit="encode",
        mean=float(np.mean(encode)),
        p99=percentiles(encode, 99)[0] / 1e3,
        users_a_second=batch,
    )
    logs = appending(asked.database)
    for each in logs:
        report.add(
            f"log: {each.rate:,.0f} events a second in batches of {each.batch:,}, "
            f"{each.size:.0f} bytes each",
            unit="log",
            **each._asdict(),
        )
    sizes, seconds, whole, pair = searched(report, recommender, asked)
    law = Law.fitted(sizes, seconds)
    report.add(
        f"a search in N vectors: {law.scale * 1e3:.4g} ms x N^{law.power:.3f}; "
        f"{law.at(1e7) * 1e3:.2f} ms in ten million, extrapolated",
        unit="law",
        **law._asdict(),
    )
    put = putting(whole)
    report.add(
        f"putting {PUT:,} vectors into {asked.size:,}: {put:.2f} s, {put / asked.size * 1e9:.0f} "
        "ns a vector that is there",
        unit="put",
        seconds=put,
    )
    units = Units(
        search=law,
        build=whole.build / asked.size,
        held=whole.held,
        codes=whole.codes,
        encode=float(np.mean(encode)),
        merge=merging(round(1e8 / asked.shard), K, rng),
        event=of_user.event,
        facts=of_user.facts,
        vectors=of_user.vectors,
        query=of_user.query,
        logged=logs[-1].size,
        appended=logs[-1].rate,
        batch=batch,
    )
    report.add(f"units: {units}", unit="all", **asdict(units))
    return units, Times(encode, pair.search, pair.noise, np.zeros(1), np.full(1, units.merge))


def searched(
    report: Report, recommender: Recommender, asked: argparse.Namespace
) -> tuple[list[int], list[float], Shard, Pair]:
    """Search parts of a catalogue: return sizes, mean seconds, the whole, and two halves."""
    vectors, questions, truth = catalogue(recommender, asked.size, asked.seed)
    ids = np.arange(asked.size)
    half = asked.size // 2
    parts = [slice(round(share * asked.size)) for share in SHARES]
    parts += [slice(half), slice(half, 2 * half), slice(asked.size)]
    made = [shard_of(ids[part], vectors[part], questions, asked.target) for part in parts]
    times = rounds(made, questions)
    sizes = [len(shard.searched) for shard in made]
    own = times.min(axis=0)  # (W, Q)
    for shard, size, each in zip(made, sizes, own, strict=True):
        report.add(
            f"shard of {size:,}: {each.mean() * 1e3:.3f} ms a search, "
            f"{percentiles(each, 99)[0]:.3f} at 99 %, recall {shard.recall:.4f} with nprobe "
            f"{shard.nprobe}, built in {shard.build:.0f} s, {shard.held:.0f} + "
            f"{shard.codes:.0f} bytes a vector",
            unit="search",
            vectors=size,
            seconds=each.mean(),
            p99=percentiles(each, 99)[0] / 1e3,
            recall=shard.recall,
            nprobe=shard.nprobe,
            build=shard.build,
            held=shard.held,
            codes=shard.codes,
        )
    pair = pair_of(made[2:4], times[:, 2:4], questions, truth)
    report.add(
        f"two halves: correlation of a question's times {pair.likeness:.2f}, noise "
        f"{np.percentile(pair.noise, 99):.2f} at 99 %, merged recall {pair.recall:.4f}",
        unit="halves",
        likeness=pair.likeness,
        noise=np.percentile(pair.noise, WHICH).tolist(),
        recall=pair.recall,
    )
    return sizes, own.mean(axis=1).tolist(), made[-1], pair


def compare(
    report: Report, recommender: Recommender, asked: argparse.Namespace, rng: np.random.Generator
) -> tuple[list[Compared], NDArray[np.float64]]:
    """Ask two real shards at several rates, and simulate the same; return the network's times too.

    Raises:
        SystemExit: The merged lists are not those of one index.
    """
    vectors, questions, _ = catalogue(recommender, asked.loopback, asked.seed)
    ids = np.arange(asked.loopback)
    truth = Index.build(ids, vectors).search(questions.queries, K, questions.excluded)
    with TemporaryDirectory() as scratch, shards(saved(Path(scratch), ids, vectors)) as there:

        def ask(places: NDArray[np.int64], due: NDArray[np.float64] | None = None) -> Answered:
            excluded = [questions.excluded[place] for place in places]
            answered = drive(there, questions.queries[places], excluded, K, due)
            check(answered.found, truth, places)
            return answered

        count = len(questions.queries)
        warm = ask(np.arange(count))
        moments = np.arange(count) * np.float64(APART * np.median(warm.taken))
        alone = [ask(np.arange(count), moments)]
        capacity = 1 / float(alone[0].search.mean(axis=0).max())
        report.say(
            f"two shards of {asked.loopback // 2:,} on loopback: {capacity:.0f} questions a second "
            "at most; all lists equal those of one index, to the last bit"
        )
        found = []
        for share in RATES:
            rate = share * capacity
            due = np.cumsum(rng.exponential(1 / rate, asked.asked))
            answered = ask(rng.integers(0, count, asked.asked), due)
            # Before and after, so that other work on the machine weighs as much on both.
            alone.append(ask(np.arange(count), moments))
            found.append(comparison(report, answered, alone[-2:], rate, share, asked.seed))
    return found, np.concatenate([each.network for each in alone])


def saved(folder: Path, ids: NDArray[np.int64], vectors: Vectors) -> list[Path]:
    """Write the halves of an exact index; return their folders."""
    half, folders = len(ids) // 2, []
    for number, part in enumerate((slice(half), slice(half, None))):
        folders.append(folder / f"shard{number}")
        folders[-1].mkdir()
        save_index(folders[-1], Index.build(ids[part], vectors[part]), SOURCE)
    return folders


def check(found: Sequence[Neighbours], truth: Neighbours, places: NDArray[np.int64]) -> None:
    """Hold merged lists against those of one index.

    Raises:
        SystemExit: A bit differs.
    """
    for merged, place in zip(found, places.tolist(), strict=True):
        same = np.array_equal(merged.ids[0], truth.ids[place])
        if not same or not np.array_equal(merged.scores[0], truth.scores[place]):
            raise SystemExit(f"question {place}: the merged list is not that of one index")


def times_of(alone: Sequence[Answered]) -> Times:
    """Return what a simulation of two real shards draws from.

    Args:
        alone: Questions that did not wait for each other.
    """
    return Times(
        encode=np.concatenate([each.encode for each in alone]),
        search=np.concatenate([each.search for each in alone]),
        noise=np.ones(1),
        network=np.concatenate([each.network for each in alone]),
        merge=np.concatenate([each.merge for each in alone]),
    )


def comparison(
    report: Report,
    answered: Answered,
    alone: Sequence[Answered],
    rate: float,
    share: float,
    seed: int,
) -> Compared:
    """Simulate what two real shards were asked, and report both."""
    cluster = Cluster(shards=2, replicas=1, cores=1, routers=1)
    times = times_of(alone)
    in_run = times._replace(search=answered.search)
    expected, again = (
        simulate(cluster, each, rate, 20 * len(answered.taken), np.random.default_rng(seed))
        for each in (times, in_run)
    )
    row = Compared(
        rate,
        share,
        pair(percentiles(answered.taken, 50, 99)),
        pair(expected.percentiles(50, 99)),
        pair(again.percentiles(50, 99)),
        float(answered.search.mean() / times.search.mean()),
        percentiles(answered.late, 50)[0],
    )
    report.add(
        f"loopback at {rate:.0f} /s ({share:.0%}): p50 {row.measured[0]:.2f} ms, simulated "
        f"{row.simulated[0]:.2f}, from the run's own times {row.in_run[0]:.2f}; p99 "
        f"{row.measured[1]:.2f}, {row.simulated[1]:.2f}, {row.in_run[1]:.2f}; searches took "
        f"{row.slower:.2f} times what they take alone, sent {row.late:.3f} ms late",
        unit="loopback",
        **row._asdict(),
    )
    return row


def pair(values: Sequence[float]) -> tuple[float, float]:
    """Return two values as a tuple."""
    first, second = values
    return first, second


def scenarios(
    report: Report, base: Cluster, times: Times, rate: float, asked: argparse.Namespace
) -> Iterator[Scenario]:
    """Simulate and report the cluster as planned and with what goes wrong."""
    middle = asked.requests / rate / 3
    failure = Failure(rack=0, at=middle, noticed=middle / 2)
    wrong = {
        "as planned": base,
        f"one machine {SLOW_MACHINE:g} times as slow": replace(base, slow=SLOW_MACHINE),
        f"one shard {SLOW_SHARD:g} times as slow, all replicas": replace(
            base, slow=SLOW_SHARD, slow_replicas=base.replicas
        ),
        "a rack fails, until it is noticed": replace(base, failure=failure),
        "a rack fails, after it was noticed": replace(base, failure=failure),
    }
    spans = {
        "a rack fails, until it is noticed": (failure.at, failure.at + failure.noticed),
        "a rack fails, after it was noticed": (failure.at + failure.noticed * 1.2, np.inf),
    }
    plain = run_of(base, times, rate, asked)
    after = percentiles(plain.searches, HEDGE)[0] / 1e3
    report.say(
        f"simulated: {base.shards} shards x {base.replicas} replicas x {base.cores} cores, "
        f"{base.routers} routers, {rate:,.0f} requests a second; hedged after {after * 1e3:.2f} ms"
    )
    for name, cluster in wrong.items():
        for hedged in (False, True):
            chosen = replace(cluster, hedge_after=after) if hedged else cluster
            outcome = run_of(chosen, times, rate, asked)
            start, end = spans.get(name, (0.1 * outcome.began[-1], np.inf))
            p50, p99, p999 = outcome.percentiles(*WHICH, start=start, end=end)
            row = Scenario(name, hedged, (p50, p99, p999), outcome.hedged, outcome.utilisation)
            report.add(
                f"{name:42} {'hedged' if hedged else '':6} p50 {p50:7.2f} p99 {p99:7.2f} p99.9 "
                f"{p999:7.2f} ms, {outcome.hedged:.1%} asked twice, utilisation "
                f"{outcome.utilisation:.2f}",
                unit="scenario",
                **row._asdict(),
            )
            yield row


def run_of(cluster: Cluster, times: Times, rate: float, asked: argparse.Namespace) -> Outcome:
    """Return what one simulation gives, with the same requests for every cluster."""
    return simulate(cluster, times, rate, asked.requests, np.random.default_rng(asked.seed))


def sweep(
    report: Report, base: Cluster, times: Times, asked: argparse.Namespace
) -> dict[bool, list[float]]:
    """Return the 99th percentiles, ms, at each utilisation, without and with hedging."""
    capacity = base.capacity(times)
    plain = run_of(base, times, 0.5 * capacity, asked)
    hedging = replace(base, hedge_after=percentiles(plain.searches, HEDGE)[0] / 1e3)
    found: dict[bool, list[float]] = {False: [], True: []}
    for share in UTILISATIONS:
        for hedged, cluster in ((False, base), (True, hedging)):
            outcome = run_of(cluster, times, share * capacity, asked)
            p50, p99, p999 = outcome.percentiles(*WHICH, start=0.1 * outcome.began[-1])
            found[hedged].append(p99)
            report.add(
                f"utilisation {share:.1f} {'hedged' if hedged else '':6} p50 {p50:.2f} p99 "
                f"{p99:.2f} p99.9 {p999:.2f} ms",
                unit="sweep",
                utilisation=share,
                hedged=hedged,
                p50=p50,
                p99=p99,
                p999=p999,
            )
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, as Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def units_table(units: Units) -> list[str]:
    """Return the measured units."""
    law = units.search
    rows = [
        ("vector and id", f"{units.held:,.0f} B"),
        ("code of a vector, and its list", f"{units.codes:,.0f} B"),
        ("search in N vectors", f"{law.scale * 1e3:.3g} ms x N^{law.power:.3f}"),
        ("build, a vector", f"{units.build * 1e6:.1f} microseconds"),
        ("encode one user after a new event", f"{units.encode * 1e3:.2f} ms"),
        ("encode users together, one core", f"{units.batch:,.0f} a second"),
        ("merge the lists of all shards", f"{units.merge * 1e3:.3f} ms"),
        ("event of a history", f"{units.event:.0f} B"),
        ("id and attributes of a user", f"{units.facts:.0f} B"),
        ("what the towers made of a user", f"{units.vectors:.0f} B"),
        ("query vector", f"{units.query:.0f} B"),
        ("event in the log", f"{units.logged:.0f} B"),
        ("events that one log takes in", f"{units.appended:,.0f} a second"),
    ]
    return table(("unit", "measured"), rows)


def plan_table(report: Report, lines: Sequence[Line]) -> list[str]:
    """Report the arithmetic; return its table."""
    for line in lines:
        report.add(
            f"{line.what:38} {line.arithmetic:70} {line.result}", unit="plan", **line._asdict()
        )
    return table(
        ("what", "arithmetic", "result"),
        [(line.what, line.arithmetic, line.result) for line in lines],
    )


def shards_table(report: Report, sizes: Sequence[Sizing], given: Assumptions) -> list[str]:
    """Report what shards of several sizes need; return the table."""
    rows = []
    for size in sizes:
        row = (
            f"{size.vectors:,.0f}",
            f"{size.shards}",
            f"{size.seconds * 1e3:.2f}",
            f"{size.replicas}",
            f"{size.cores(given):,}",
            f"{size.gigabytes:.1f}",
            f"{size.shards * size.replicas * size.gigabytes / 1e3:,.1f}",
            f"{size.hours:.2f}",
            f"{size.dollars:,.0f}",
        )
        rows.append(row)
        report.add("shards of " + "  ".join(row), unit="shards", **size._asdict())
    head = (
        *("movies a shard", "shards", "ms a search", "replicas", "cores", "GB a machine"),
        *("TB in all", "core hours to build", "$ an hour"),
    )
    return table(head, rows)


def compared_table(rows: Sequence[Compared]) -> list[str]:
    """Return measured and simulated times of two real shards."""
    head = (
        *("questions a second", "of capacity", "p50 measured", "p50 simulated"),
        *("p50, run's own times", "p99 measured", "p99 simulated", "p99, run's own times"),
        "searches slower by",
    )
    return table(
        head,
        [
            (
                f"{row.rate:.0f}",
                f"{row.share:.0%}",
                *(
                    f"{each[place]:.2f}"
                    for place in (0, 1)
                    for each in (row.measured, row.simulated, row.in_run)
                ),
                f"{row.slower:.2f}",
            )
            for row in rows
        ],
    )


def scenarios_table(rows: Sequence[Scenario]) -> list[str]:
    """Return the simulated clusters."""
    return table(
        ("cluster", "hedged", "p50", "p99", "p99.9", "asked twice"),
        [
            (
                row.name,
                "yes" if row.hedged else "no",
                *(f"{each:.2f}" for each in row.taken),
                f"{row.twice:.1%}",
            )
            for row in rows
        ],
    )


def filled(page: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Return a page with each table between `<!-- NAME -->` and `<!-- end -->`."""

    def table_of(found: re.Match[str]) -> str:
        lines = "\n".join(tables[found["name"]])
        return f"{found[1]}\n{lines}\n\n{found[3]}"

    return TABLE.sub(table_of, page)


def draw(
    compared: Sequence[Compared],
    found: Sequence[Scenario],
    swept: Mapping[bool, Sequence[float]],
    path: Path,
) -> None:
    """Draw real shards beside their simulation, what goes wrong, and utilisation."""
    plain, hedged_too = found[0].taken, found[1].taken
    first = compared[0]
    title = (
        f"Hedging brings p99.9 of the planned cluster from {plain[2]:.0f} to {hedged_too[2]:.0f} "
        f"ms; at {first.share:.0%} of capacity, p50 of two real shards is "
        f"{first.measured[0]:.1f} ms and {first.simulated[0]:.1f} ms simulated"
    )
    figure, panels = new_plot(title, panels=3, width=13, height=4.6)
    shares = [row.share for row in compared]
    for place, name in enumerate(("p50", "p99")):
        colour = f"C{place}"
        panels[0].plot(
            shares, [row.measured[place] for row in compared], "o-", color=colour,
            label=f"{name}, real shards",
        )  # fmt: skip
        panels[0].plot(
            shares, [row.simulated[place] for row in compared], "x--", color=colour,
            label=f"{name}, simulated",
        )  # fmt: skip
        panels[0].plot(
            shares, [row.in_run[place] for row in compared], "+:", color=colour,
            label=f"{name}, from the run's own times",
        )  # fmt: skip
    panels[0].set(xlabel="share of capacity", ylabel="milliseconds", yscale="log")
    panels[0].set_title("two shards on loopback", fontsize=10)
    panels[0].legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    names = list(dict.fromkeys(row.name for row in found))
    for hedged, colour in ((False, "C3"), (True, "C2")):
        own = [row for row in found if row.hedged is hedged]
        places = np.arange(len(own)) + (0.2 if hedged else -0.2)
        panels[1].barh(
            places, [row.taken[2] for row in own], height=0.38, color=colour, alpha=0.8,
            label="hedged, p99.9" if hedged else "not hedged, p99.9",
        )  # fmt: skip
        panels[1].plot([row.taken[1] for row in own], places, "k|", markersize=9)
    panels[1].plot([], [], "k|", label="p99")
    labels = [name.replace(", ", ",\n").replace(" times", "\ntimes") for name in names]
    panels[1].set_yticks(range(len(names)), labels, fontsize=8)
    panels[1].invert_yaxis()
    panels[1].set(xlabel="milliseconds", xlim=(0, None))
    panels[1].set_title("the planned cluster, simulated", fontsize=10)
    panels[1].legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.4, -0.13), ncols=3)
    for hedged, name in ((False, "not hedged"), (True, "hedged")):
        panels[2].plot(
            UTILISATIONS, swept[hedged], "o-", color="C2" if hedged else "C3", label=name
        )
    panels[2].set(xlabel="utilisation that is held", ylabel="milliseconds at p99")
    panels[2].set_ylim(0, 1.1 * max(*swept[False], *swept[True]))
    panels[2].set_title("what an autoscaler may aim at", fontsize=10)
    panels[2].legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    save(figure, path)


if __name__ == "__main__":
    main()
