"""The command that forgets a user.

`rec forget --json` prints run, user_id and events (how many were forgotten).
"""

from typing import Annotated

import typer

from retrieval.cli.display import agreed, note
from retrieval.cli.options import JsonOption, RunOption, run_or_newest
from retrieval.cli.output import print_json
from retrieval.errors import shown


def forget(
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Id of the user.")],
    run: RunOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Forget without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take a user out of a run: the id, every event and every vector of the user.

    Versions that the run keeps are written anew without the user too. What all users together
    taught the run stays until the next training, whose data must not hold the user any more.
    """
    from retrieval.pipeline.forgetting import events_of, forget_user, holder_of

    folder = run_or_newest(run)
    opened, number = holder_of(folder, user)
    events = events_of(opened, number)
    what = f"user {shown(user)} and {events.stop - events.start:,} events"
    question = f"forget {what} of {shown(folder)}? This cannot be undone."
    if not yes and not agreed(question, "give --yes to forget the user"):
        note("nothing is forgotten")
        return
    known = opened.users.ids[number].item()
    count = forget_user(folder, known)
    if as_json:
        print_json({"run": str(folder), "user_id": known, "events": count})
    note(f"forgot {what} of {folder}; keep the user out of the data of the next training too")
