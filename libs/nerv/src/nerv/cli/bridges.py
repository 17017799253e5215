# SPDX-License-Identifier: Apache-2.0
"""`nerv bridges`, and `nerv middleware`."""

from typing import Annotated

import typer

from nerv.cli.calling import AsJson, call, console, say_json
from nerv.cli.show import table


def bridges(as_json: AsJson = False) -> None:
    """The bridges of the app: from where to where, how many events wait, and what one replica of the broker carried."""
    found = call(lambda client: client.topics.bridges())
    if as_json:
        say_json({"bridges": found})
        return
    rows = [{**row, "carried": sum(row["counters"].get(way, 0) for way in ("carried", "in", "out"))} for row in found]
    console().print(table("bridges", rows, ("name", "from", "to", "lag", "carried", "health", "error")))


def middleware(topic: Annotated[str, typer.Argument(help="The topic.")], as_json: AsJson = False) -> None:
    """What a topic's middleware is, and what it did to how many events and to the last ones, on one replica of the broker."""
    found = call(lambda client: client.topics.history(topic))
    if as_json:
        say_json(found)
        return
    counts = {"publish": found["published"], "subscribe": found["delivered"]}
    rows = [{"way": way, "steps": found["steps"][way], **counts[way]} for way in counts]
    console().print(table(f"middleware of {topic}", rows))
    if found["events"]:
        console().print(table("last events", found["events"], ("at", "id", "type", "outcome", "by", "topic", "detail")))
