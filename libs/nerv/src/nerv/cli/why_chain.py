# SPDX-License-Identifier: Apache-2.0
"""What is asked of whom to explain an event: history by its chain, then topics, back from what is known and on from there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from nerv.cli.why_tree import RUN, Caused, causes, reaction_of, run_of, tops
from nerv.client import Client
from nerv.errors import Forbidden, Invalid, NervError, NotFound
from nerv.protocols import ReadQuery
from nerv.types import Event, EventType, format_instant, parse_instant

CHAINS = 50  # of runs that led to each other
TOPICS = 20  # that are looked at for what was published
CAUSES = 20  # that are looked for one by one: each may cost a topic's 100,000 records
BACK = timedelta(days=1)
EARLIER = timedelta(seconds=1)  # clocks of brokers and of owners differ


@dataclass(slots=True)
class Explained:
    """A chain of causes, by the ids of its events.

    `chains` are its correlation ids, `tried` the ids of causes that were looked for; `looked` says at what of
    which topic was looked, `notes` what is not shown, and why.
    """

    asked: str
    chain: str
    chains: set[str] = field(default_factory=set)
    tried: set[str] = field(default_factory=set)
    caused: dict[str, Caused] = field(default_factory=dict)
    looked: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, event: Caused) -> None:
        """Another one; what is known already is not known anew."""
        self.caused.setdefault(event["id"], event)

    def document(self) -> dict[str, Any]:
        """As JSON: `cause` of each event is the id of the one that led to it, where that is shown."""
        events = list(self.caused.values())
        led = causes(events)
        told = [{**one, "cause": led[one["id"]], "asked": one["id"] == self.asked} for one in events]
        return {"chain": self.chain, "events": told, "looked": self.looked, "notes": self.notes}


@dataclass(frozen=True, slots=True)
class Topics:
    """To which topics something is published because of something else, and of which each reaction is given events."""

    targets: tuple[str, ...] = ()
    of: Mapping[str, str] = field(default_factory=dict)


async def explain(client: Client, stream: str, version: int, limit: int) -> Explained:
    """The chain that an event is of. Raises NotFound for an event that is not there."""
    query = ReadQuery(from_version=version, to_version=version, deleted=True)
    events = [event async for event in client.streams.read(stream, query)]
    if not events:
        raise NotFound(f"{stream} has no event {version}; nerv history {stream} shows those that it has")
    [event] = events
    explained = Explained(event.id, event.correlation_id or event.id)
    await _chains(client, explained, event, limit)
    topics = await _topics(client, explained)
    await _back(client, explained, topics)
    await _forth(client, explained, topics)
    await _back(client, explained, topics)
    return explained


async def _chains(client: Client, explained: Explained, event: Event[bytes], limit: int) -> None:
    """All of the event's chain, of those that its runs began, and of those that it is a run of."""
    known, chains = explained.caused, explained.chains
    left, hidden = [explained.chain], 0
    while left:
        chain = left.pop(0)
        if chain in chains:
            continue
        chains.add(chain)
        if len(chains) > CHAINS or len(known) >= limit:
            explained.notes.append(
                f"there are more than {limit} events, or more than {CHAINS} runs; --limit shows more events"
            )
            break
        found = await client.streams.chain(chain, limit=limit - len(known))
        for one in found["events"]:
            explained.add(one)
        hidden += found["hidden"]
        if not found["whole"]:
            explained.notes.append(f"there are more than {limit} events; --limit shows more")
        started = await _started(client, chain)
        if started is not None:  # it is a run, whose start stands in the chain of what it was started because of
            explained.add(started)
            left.append(started["correlation_id"])
        left += [run for one in known.values() if (run := run_of(one)) is not None]
    explained.add(_first(event))  # it began the chain
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


async def _topics(client: Client, explained: Explained) -> Topics:
    """Those that can be asked about. What the token may not know is noted."""
    try:
        rows = await client.topics.list()
    except NervError as error:  # not only what this token may not: a mesh may have no broker
        explained.notes.append(f"what stands on topics is not shown: {error.detail}")
        return Topics()
    of = {name: row["name"] for row in rows for name in row["reactions"]}
    ways: list[tuple[str, str]] = []
    try:
        ways = [(way["from"], way["to"]) for way in (await client.topology())["ways"]]
    except NervError as error:
        explained.notes.append(f"only topics that the app declares events of are looked at: {error.detail}")
    for source, target in ways:
        if target.startswith("reaction:"):
            of[target.removeprefix("reaction:")] = source.removeprefix("topic:")
    written = [to.removeprefix("topic:") for end, to in ways if to.startswith("topic:") and _writes(end)]
    declared = [row["name"] for row in rows if row["types"]]
    readable = {row["name"] for row in rows}
    return Topics(tuple(name for name in dict.fromkeys([*written, *declared]) if name in readable), of)


def _writes(end: str) -> bool:
    """Whether what comes from this end of a way was published because of something else."""
    return end.startswith(("reaction:", "bridge:")) or end == "service:scheduler"


async def _back(client: Client, explained: Explained, topics: Topics) -> None:
    """Causes that are not known yet, hop by hop: on the topic that their reaction is given, or anywhere in history."""
    tried = explained.tried
    while wanted := [one for one in tops(explained.caused.values()) if one["causation_id"] not in (None, *tried)]:
        effect = wanted[0]
        if len(tried) == CAUSES:
            explained.notes.append(f"only {CAUSES} causes that the chain does not have were looked for")
            return
        tried.add(effect["causation_id"])
        found = await _cause(client, explained, topics, effect)
        if found is not None:
            explained.add(found)


async def _cause(client: Client, explained: Explained, topics: Topics, effect: Caused) -> Caused | None:
    reaction, before = reaction_of(effect["source"]), parse_instant(effect["recorded_time"], "recorded_time")
    topic = None if reaction is None else topics.of.get(reaction)
    try:
        if topic is not None:
            return await client.topics.find(topic, effect["causation_id"], before=before)
        if reaction is not None:
            explained.notes.append(f"no topic is known whose events reaction {reaction} is given")
        return await client.streams.find(effect["causation_id"], before=before)
    except NervError as error:
        explained.notes.append(error.detail)
    return None


async def _forth(client: Client, explained: Explained, topics: Topics) -> None:
    """What was published to topics, be it recorded or not."""
    since = _since(explained)
    chains = sorted(one for one in explained.chains if "," not in one)
    if len(topics.targets) > TOPICS:
        explained.notes.append(f"not looked at: {', '.join(topics.targets[TOPICS:])}")
    for topic in topics.targets[:TOPICS] if chains else ():
        try:
            found = await client.topics.chain(topic, chains, since)
        except NervError as error:
            explained.notes.append(f"{topic} was not looked at: {error.detail}")
            continue
        for one in found.pop("events"):
            explained.add(one)
        explained.looked.append({"topic": topic, "since": format_instant(since), **found})


def _since(explained: Explained) -> datetime:
    """When the first of them was written, at most a day before what was asked for."""
    written = {name: parse_instant(one["recorded_time"], "recorded_time") for name, one in explained.caused.items()}
    return max(min(written.values()), written[explained.asked] - BACK) - EARLIER
