# SPDX-License-Identifier: Apache-2.0
"""`nerv view`."""

from collections.abc import AsyncIterator
from itertools import islice
from typing import Annotated, Any

import typer

from nerv.cli.calling import AsJson, AsOf, KnownAt, call, console, instant, say_json, usage
from nerv.cli.show import table, tree
from nerv.client import Client
from nerv.errors import Invalid

SHOWN = 6  # columns that fit a terminal
FOUND = 1000  # that one request for what is chosen answers at most

Document = dict[str, Any]


def view(
    projection: Annotated[str, typer.Argument(help="The projection.")],
    key: Annotated[str | None, typer.Argument(help="Which entity; all of them by default.")] = None,
    perspective: Annotated[
        str | None, typer.Option("--perspective", "-p", help="For which kind of reader; `state` for all of it.")
    ] = None,
    fields: Annotated[str | None, typer.Option(help="Of the perspective, these only: a,b.c")] = None,
    index: Annotated[str | None, typer.Option(help="In order of this index of the projection.")] = None,
    equals: Annotated[str | None, typer.Option(help="Of the index: those with this value.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Of an index of texts: those that begin so.")] = None,
    low: Annotated[str | None, typer.Option(help="Of the index: values from this one on.")] = None,
    high: Annotated[str | None, typer.Option(help="Of the index: values up to this one.")] = None,
    descending: Annotated[bool, typer.Option("--descending", help="Of the index: the highest value first.")] = False,
    where: Annotated[str | None, typer.Option(help="Those of which this JMESPath is true: at == 'JFK'")] = None,
    order: Annotated[str | None, typer.Option(help="In order of what this JMESPath finds: totals.miles")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entities.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Read models: of one entity as a tree, of all as a table. With --json one document, or one a line."""
    happened, known = instant(as_of, "--as-of"), instant(known_at, "--known-at")
    seen: Document = {"perspective": perspective, "fields": None if fields is None else fields.split(",")}
    span = {"equals": equals, "prefix": prefix, "low": low, "high": high}
    if index is None and (descending or any(word is not None for word in span.values())):
        raise usage(Invalid("--equals, --prefix, --low, --high and --descending are of an index; name it: --index"))
    chosen = index is not None or where is not None or order is not None
    if chosen and (fields or happened or known or key is not None or (index is not None and order is not None)):
        raise usage(Invalid("--index, or --where and --order, choose among all views of now, without fields"))
    if key is not None:
        _one(projection, key, {**seen, "as_of": happened, "known_at": known}, as_json)
        return

    async def found(client: Client) -> AsyncIterator[Document]:
        if index is not None:
            asked: Document = {**span, "descending": descending, "where": where, "perspective": perspective}
            async for one in client.views.by_index(projection, index, **asked):
                yield one
        elif chosen:
            for one in await client.views.find(
                projection, where, order=order, limit=min(limit, FOUND), perspective=perspective
            ):
                yield one
        else:
            async for one in client.views.list(projection, **seen, as_of=happened, known_at=known):
                yield one

    async def work(client: Client) -> list[Document]:
        rows: list[Document] = []
        async for one in found(client):
            if as_json:
                say_json(one)
            rows.append(one)
            if len(rows) == limit:
                break
        return rows

    rows = call(work)
    if as_json:
        return
    if not rows:
        console().print(f"{projection}: there are no such views", markup=False)  # a table without columns shows nothing
        return
    flat = [{"key": row["key"], **_shown(row["state"])} for row in rows]
    console().print(table(f"{projection}: {len(rows)} shown", flat))


def _one(projection: str, key: str, asked: Document, as_json: bool) -> None:
    found = call(lambda client: client.views.get(projection, key, **asked))
    if as_json:
        say_json(found)
        return
    reader = "" if found["perspective"] is None else f", for {found['perspective']}"
    events = "1 event" if found["version"] == 1 else f"{found['version']} events"
    console().print(tree(f"{projection} {key}{reader}, after {events}", found["state"] or {}))
    if "parked" in found:
        console().print(tree("parked: later events are not in it", found["parked"]))


def _shown(state: Any) -> Document:
    """What of a state fits a table: its plain values; all else is shown for one entity."""
    if not isinstance(state, dict):
        return {"state": state}
    plain = ((name, value) for name, value in state.items() if not isinstance(value, dict | list))
    return dict(islice(plain, SHOWN))
