"""What a query costs in larger and larger catalogues, by kind of index.

python benchmarks/sizes.py --run FOLDER [--sizes 4000,20000,100000] [--target 0.98]
                           [--graphs 1000000] [--plot]

Catalogues look like the run's; the queries are those of its users, each for 20 movies without those
of the ranks at which the user has seen movies in the run, one at a time on one thread. Of each kind
the fastest setting that surely finds the share of the exact answers, or, marked, what comes
nearest; recall is of the half of the queries that it was not chosen on. Graphs are built for no
more movies than --graphs: that takes longest.
"""

from pathlib import Path

from machine import Report, add_plot, arguments, peak_megabytes
from plots import new_plot, save

from index.kinds import Kind
from retrieval.evaluation.latency import Sized, by_size, of_each
from retrieval.serving.recommender import Recommender


def main() -> None:
    """Measure, report and draw."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run")
    parser.add_argument("--sizes", default="4000,20000,100000", help="numbers of movies")
    parser.add_argument("--target", type=float, default=0.98, help="recall to reach")
    parser.add_argument("--graphs", type=int, default=1_000_000, help="most movies of an hnsw")
    add_plot(parser, "sizes")
    asked = parser.parse_args()
    recommender = Recommender.load(asked.run)
    report = Report(
        asked,
        f"catalogues like that of {asked.run.name}, {recommender.index.dimension} components, "
        f"recall@20 of {asked.target:g}, one query at a time on one thread",
    )
    report.say(
        f"{'movies':>10} {'kind':6} {'recall':>7} {'ms':>8} {'build s':>8} {'MB':>8} {'peak MB':>8}"
    )
    found: list[Sized] = []
    for size in (int(size) for size in asked.sizes.split(",")):
        kinds = [kind for kind in Kind if kind is not Kind.HNSW or size <= asked.graphs]
        measured = list(by_size(recommender, [size], asked.target, kinds, asked.seed))
        for row in of_each(measured, asked.target):
            found.append(row)
            trial, peak = row.trial, peak_megabytes()
            report.add(
                f"{size:10,} {trial.kind:6} {trial.check:7.4f} {trial.milliseconds:8.3f} "
                f"{trial.build_seconds:8.1f} {trial.megabytes:8.1f} {peak:8.0f}"
                f"{'' if trial.least >= asked.target else '  target missed'}",
                movies=size,
                **trial.as_dict(),
                peak_megabytes=peak,
            )
    report.save()
    if asked.plot:
        draw(found, asked.plot)


def draw(found: list[Sized], path: Path) -> None:
    """Draw what queries, building and memory cost against the number of movies."""
    largest = max(row.movies for row in found)
    times = {row.trial.kind: row.trial.milliseconds for row in found if row.movies == largest}
    fastest = min(times, key=lambda kind: times[kind])
    title = (
        f"In a catalogue of {largest:,} movies the {fastest} answers in {times[fastest]:.2g} ms, "
        f"and a search of everything in {times[Kind.EXACT]:.2g} ms"
    )
    figure, panels = new_plot(title, panels=3, width=10, height=4)
    for kind in Kind:
        own = [row for row in found if row.trial.kind is kind]
        sizes = [row.movies for row in own]
        for axes, values in zip(
            panels,
            (
                [row.trial.milliseconds for row in own],
                [row.trial.build_seconds for row in own],
                [row.trial.megabytes for row in own],
            ),
            strict=True,
        ):
            axes.plot(sizes, values, "o-", markersize=4, label=kind.value)
    for axes, name in zip(
        panels, ("milliseconds of a query", "seconds to build", "megabytes of index"), strict=True
    ):
        axes.set(xscale="log", yscale="log", xlabel="movies", ylabel=name)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    save(figure, path)


if __name__ == "__main__":
    main()
