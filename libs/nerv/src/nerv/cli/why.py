# SPDX-License-Identifier: Apache-2.0
"""`nerv why`."""

from typing import Annotated

import typer

from nerv.cli.calling import AsJson, call, console, say_json, usage
from nerv.cli.why_chain import explain
from nerv.cli.why_tree import looked, tree
from nerv.errors import Invalid, NervError
from nerv.types import check_id


def why(
    event: Annotated[str, typer.Argument(metavar="STREAM@VERSION", help="An event, such as aircraft-N14228@1.")],
    limit: Annotated[int, typer.Option(help="How many events of the chain at most.", min=1, max=5000)] = 1000,
    as_json: AsJson = False,
) -> None:
    """What caused an event, and what it has caused, each with the trace of its hop.

    Events of history that belong together are found however old they are, and so are runs that were started because of them.
    On topics it looks a day back from what is known, and from there on at 100,000 records of each topic at most: it says at how
    many. Calls to systems outside stand nowhere but in traces (`nerv trace ID`).
    """
    stream, _, number = event.rpartition("@")
    if not stream or not number.isdigit() or not int(number):
        raise usage(Invalid(f"say which event as STREAM@VERSION, such as aircraft-N14228@1, not {event[:60]!r}"))
    try:
        check_id(stream, "stream")
    except NervError as error:
        raise usage(error) from None
    found = call(lambda client: explain(client, stream, int(number), limit))
    if as_json:
        say_json(found.document())
    else:
        console().print(tree(found.caused.values(), found.asked))
        for note in [*looked(found.looked), *found.notes]:
            console().print(note, style="dim", markup=False, soft_wrap=True)
