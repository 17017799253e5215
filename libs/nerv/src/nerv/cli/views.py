# SPDX-License-Identifier: Apache-2.0
"""`nerv view`."""

from itertools import islice
from typing import Annotated, Any

import typer

from nerv.cli.calling import AsJson, AsOf, KnownAt, call, console, instant, say_json
from nerv.cli.show import table, tree
from nerv.client import Client

SHOWN = 6  # columns that fit a terminal


def view(
    projection: Annotated[str, typer.Argument(help="The projection.")],
    key: Annotated[str | None, typer.Argument(help="Which entity; all of them by default.")] = None,
    perspective: Annotated[str | None, typer.Option("--perspective", "-p", help="For which kind of reader.")] = None,
    fields: Annotated[str | None, typer.Option(help="Of the perspective, these only: a,b.c")] = None,
    as_of: AsOf = None,
    known_at: KnownAt = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entities.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Read models: of one entity as a tree, of all as a table. With --json one document, or one a line."""
    happened, known = instant(as_of, "--as-of"), instant(known_at, "--known-at")
    names = None if fields is None else fields.split(",")
    if key is not None:
        found = call(
            lambda client: client.views.get(
                projection, key, perspective=perspective, fields=names, as_of=happened, known_at=known
            )
        )
        if as_json:
            say_json(found)
        else:
            title = f"{projection} {key}" + (f", for {perspective}" if perspective else "")
            console().print(tree(f"{title}, after {found['version']} events", found["state"] or {}))
        return

    async def work(client: Client) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        views = client.views.list(projection, perspective=perspective, fields=names, as_of=happened, known_at=known)
        async for found in views:
            if as_json:
                say_json(found)
            rows.append(found)
            if len(rows) == limit:
                break
        return rows

    rows = call(work)
    if not as_json:
        flat = [{"key": row["key"], **_shown(row["state"])} for row in rows]
        console().print(table(f"{projection}: {len(rows)} shown", flat))


def _shown(state: Any) -> dict[str, Any]:
    """What of a state fits a table: its plain values; all else is shown for one entity."""
    if not isinstance(state, dict):
        return {"state": state}
    plain = ((name, value) for name, value in state.items() if not isinstance(value, dict | list))
    return dict(islice(plain, SHOWN))
