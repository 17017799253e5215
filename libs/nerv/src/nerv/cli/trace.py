# SPDX-License-Identifier: Apache-2.0
"""`nerv trace`."""

from typing import Annotated, Any

import typer

from nerv.cli.calling import AsJson, call, console, say_json, usage
from nerv.cli.trace_tree import listed, tree
from nerv.client import Client
from nerv.errors import Invalid, NotFound


def trace(
    trace_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The id of a trace, 32 hexadecimal digits.")
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The tree of the latest one.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="List those that took the longest.")] = False,
    errors: Annotated[bool, typer.Option("--errors", help="List those with a span that failed.")] = False,
    limit: Annotated[int, typer.Option(help="How many to list.", min=1, max=200)] = 20,
    as_json: AsJson = False,
) -> None:
    """A trace as a tree with times, and what each span touched; without an id, a list of the latest traces.

    The mesh keeps the spans of the last hour itself. Which traces are recorded OTEL_TRACES_SAMPLER decides; under `nerv dev` all.
    """
    if trace_id is not None and (last or slow or errors):
        raise usage(Invalid("give the id of a trace, or one of --last, --slow and --errors"))
    if trace_id is not None or last:
        spans = call(lambda client: _one(client, trace_id, slow=slow, errors=errors))
        _show(spans, as_json=as_json)
        return
    rows = call(lambda client: client.traces.recent(slow=slow, errors=errors, limit=limit))
    if as_json:
        say_json({"traces": rows})
    elif rows:
        console().print(listed(rows))
    else:
        console().print("no trace is kept; see OTEL_TRACES_SAMPLER and NERV_SPANS__COUNT", highlight=False)


async def _one(client: Client, trace_id: str | None, *, slow: bool, errors: bool) -> list[dict[str, Any]]:
    if trace_id is None:
        rows = await client.traces.recent(slow=slow, errors=errors, limit=1)
        if not rows:
            raise NotFound("no such trace is kept; see OTEL_TRACES_SAMPLER and NERV_SPANS__COUNT")
        trace_id = str(rows[0]["trace"])
    return await client.traces.show(trace_id)


def _show(spans: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        say_json({"trace": spans[0]["trace"], "spans": spans})
        return
    screen = console()
    screen.print(tree(spans, screen.width))
