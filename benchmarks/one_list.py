"""How long the list of one user takes, stage by stage, beside a search by FAISS alone.

python benchmarks/one_list.py --run RUN

Known users who have about 200 ratings are asked about one after another on one thread: as the run
stores them, with one rating more, and with another one after that. Of several turns the middle one
is told, by the median of users as stored.
"""

from pathlib import Path

from machine import Report, arguments

from retrieval.evaluation.latency import OneByOne, one_by_one
from retrieval.serving.recommender import Recommender

# Who asks, by the field that holds how long it takes.
WHO = {"stored": "as stored", "added": "one rating more", "again": "and another"}


def main() -> None:
    """Measure what the command line names."""
    parser = arguments(__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run")
    parser.add_argument("--events", type=int, default=200, help="ratings of the users")
    parser.add_argument("--turns", type=int, default=3, help="times that all is measured")
    asked = parser.parse_args()
    recommender = Recommender.load(asked.run)
    run = recommender.run
    report = Report(
        asked,
        f"{Path(run.config.data).name}, preset {run.config.preset}, "
        f"{', '.join(run.config.layout.names)}",
    )
    turns = [one_by_one(recommender, asked.events) for _ in range(asked.turns)]
    say(report, sorted(turns, key=lambda turn: turn.stored.p50)[len(turns) // 2])
    report.save()


def say(report: Report, turn: OneByOne) -> None:
    """Report one turn, in milliseconds."""
    report.say(f"{turn.users} users with {turn.events:.0f} ratings on average")
    report.add(f"{'FAISS alone':16} {turn.bare:.3f} ms", who="FAISS alone", p50=turn.bare)
    answers = {name: getattr(turn, name) for name in WHO}
    for name, who in WHO.items():
        p50, p99 = answers[name].p50, answers[name].p99
        report.add(
            f"{who:16} p50 {p50:.3f} ms, p99 {p99:.3f} ms; {p50 / turn.bare:.1f} times FAISS alone",
            who=who,
            p50=p50,
            p99=p99,
            p50_of_bare=p50 / turn.bare,
        )
    for stage in turn.again.stages:
        spent = {name: found.stages.get(stage, 0.0) for name, found in answers.items()}
        told = "  ".join(f"{each:.3f}" for each in spent.values())
        report.add(f"{stage:16} {told}", stage=stage, **spent)


if __name__ == "__main__":
    main()
