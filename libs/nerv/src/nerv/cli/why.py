# SPDX-License-Identifier: Apache-2.0
"""`nerv why`."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from nerv.cli.calling import AsJson, call, console, say_json, usage
from nerv.cli.why_tree import RUN, Caused, causes, reaction_of, run_of, tops, tree
from nerv.client import Client
from nerv.errors import Forbidden, Invalid, NervError, NotFound
from nerv.protocols import ReadQuery
from nerv.types import Event, EventType, check_id, format_instant, parse_instant

CHAINS = 50  # of runs that led to each other


def why(
    event: Annotated[str, typer.Argument(metavar="STREAM@VERSION", help="An event, such as aircraft-N14228@1.")],
    limit: Annotated[int, typer.Option(help="How many events of the chain at most.", min=1, max=5000)] = 1000,
    as_json: AsJson = False,
) -> None:
    """What caused an event, and what it has caused, each with the trace of its hop.

    Events of history that belong together are found however old they are, and so are runs that were started because of them. What
    stands on a topic is looked for a day back from what it caused. What a reaction published to a topic and nothing recorded is
    not shown; its trace is (`nerv trace ID`).
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
        console().print(tree(found.caused, found.asked))
        for note in found.notes:
            console().print(note, style="dim", markup=False)


@dataclass(slots=True)
class Explained:
    """A chain of causes. `notes` say what is not shown, and why."""

    asked: str
    chain: str
    caused: list[Caused]
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON: `cause` of each event is the id of the one that led to it, where that is shown."""
        led = causes(self.caused)
        events = [
            {
                **one,
                "cause": led[one["id"]],
                "asked": one["id"] == self.asked,
            }
            for one in self.caused
        ]
        return {"chain": self.chain, "events": events, "notes": self.notes}


async def explain(client: Client, stream: str, version: int, limit: int) -> Explained:
    """The chain that an event is of. Raises NotFound for an event that is not there."""
    query = ReadQuery(from_version=version, to_version=version, deleted=True)
    events = [event async for event in client.streams.read(stream, query)]
    if not events:
        raise NotFound(f"{stream} has no event {version}; nerv history {stream} shows those that it has")
    [event] = events
    chain = event.correlation_id or event.id
    explained = Explained(event.id, chain, [])
    await _chains(client, explained, event, limit)
    await _topics(client, explained)
    return explained


async def _chains(client: Client, explained: Explained, event: Event[bytes], limit: int) -> None:
    """All of the event's chain, of those that its runs began, and of those that it is a run of."""
    known: dict[str, dict[str, Any]] = {}
    left, looked, hidden = [explained.chain], set[str](), 0
    while left:
        chain = left.pop(0)
        if chain in looked:
            continue
        looked.add(chain)
        if len(looked) > CHAINS or len(known) >= limit:
            explained.notes.append(
                f"there are more than {limit} events, or more than {CHAINS} runs; --limit shows more events"
            )
            break
        found = await client.streams.chain(chain, limit=limit - len(known))
        known |= {one["id"]: one for one in found["events"]}
        hidden += found["hidden"]
        if not found["whole"]:
            explained.notes.append(f"there are more than {limit} events; --limit shows more")
        started = await _started(client, chain)
        if started is not None:  # it is a run, whose start stands in the chain of what it was started because of
            known.setdefault(started["id"], started)
            left.append(started["correlation_id"])
        left += [run for one in known.values() if (run := run_of(one)) is not None]
    known.setdefault(event.id, _first(event))  # it began the chain
    explained.caused += known.values()
    if hidden:
        explained.notes.append(f"{hidden} events are in streams that this token may not read")


async def _started(client: Client, run: str) -> dict[str, Any] | None:
    """The start of a run of this id; None where there is no such run."""
    try:
        events = [one async for one in client.streams.read(f"{RUN}-{run}", ReadQuery(to_version=1, deleted=True))]
    except (NotFound, Forbidden, Invalid):
        return None
    return _first(events[0]) if events and events[0].type == EventType.RUN_SUBMITTED else None


def _first(event: Event[bytes]) -> dict[str, Any]:
    return {
        "stream": event.stream,
        "version": event.sequence,
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "time": format_instant(event.time),
        "recorded_time": format_instant(event.recorded_time or event.time),
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "traceparent": event.traceparent,
    }


async def _topics(client: Client, explained: Explained) -> None:
    """Add what stands on topics: the causes of those whose cause is not in history, by the reaction that it was given to."""
    of: dict[str, str] | None = None
    for top in tops(explained.caused):
        reaction = reaction_of(top["source"])
        if top["causation_id"] is None or reaction is None:
            continue
        if of is None:
            of = {name: row["name"] for row in await client.topics.list() for name in row["reactions"]}
        topic = of.get(reaction)
        if topic is None:
            explained.notes.append(f"no topic is known whose events reaction {reaction} is given")
            continue
        try:
            before = parse_instant(top["recorded_time"], "recorded_time")
            explained.caused.append(await client.topics.find(topic, top["causation_id"], before=before))
        except (NotFound, Forbidden) as error:
            explained.notes.append(error.detail)
