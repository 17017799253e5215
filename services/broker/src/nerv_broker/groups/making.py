# SPDX-License-Identifier: Apache-2.0
"""Make a group, delete one, and tell how one stands."""

import asyncio
from collections.abc import Sequence
from typing import Any

from nerv.errors import Conflict, Invalid, NotFound
from nerv.kafka.survey import Survey
from nerv.subscriptions import Books, Fact, Kind, Ledger
from nerv_broker.groups.hosting import Groups, Hosted
from nerv_broker.groups.spec import GroupSpec, starts
from nerv_broker.subscriptions.positions import parse_place
from nerv_broker.subscriptions.reading import resolve


async def make(groups: Groups, books: Books, spec: GroupSpec, partitions: int, survey: Survey, who: str) -> bool:
    """Make a group; false where it is there already, as it is asked for. Raises Conflict where it is there, and differs."""
    if (known := _given(books.ledger)) is not None:
        _check_same(books.name, known, spec)
        return False
    groups.check_room()
    start = await _start(spec, partitions, survey)
    topic_id = await asyncio.to_thread(groups.topic_id, spec.topic)
    data = {"given": spec.data(), "start": {str(p): offset for p, offset in start.items()}, "topic_id": topic_id}

    def rule(ledger: Ledger) -> Sequence[Fact]:
        if (known := _given(ledger)) is not None:
            _check_same(books.name, known, spec)
            return []
        if ledger.letters:
            raise Conflict(f"the books of {books.name} are those of another subscriber; choose another name")
        return [Fact(Kind.CREATED, {"spec": data, "who": who})]

    return bool(await books.decide(rule))


async def delete(books: Books, who: str) -> None:
    """Delete a group; its dead letters stay among the dead letters. Raises NotFound."""

    def rule(ledger: Ledger) -> Sequence[Fact]:
        if ledger.spec is None:
            raise NotFound(f"there is no group {books.name}")
        return [Fact(Kind.DELETED, {"who": who})]

    await books.decide(rule)


def _given(ledger: Ledger) -> dict[str, Any] | None:
    return None if ledger.spec is None else ledger.spec["given"]


def _check_same(name: str, known: dict[str, Any], spec: GroupSpec) -> None:
    wanted = spec.data()
    other = [field for field in wanted if known.get(field) != wanted[field]]
    if other:
        raise Conflict(
            f"there is a group {name} with another {', '.join(other)}; delete it first, or choose another name",
            errors=[{"field": field, "is": known.get(field), "wanted": wanted[field]} for field in other],
        )


async def _start(spec: GroupSpec, partitions: int, survey: Survey) -> dict[int, int]:
    found = await resolve(survey, spec.topic, partitions, parse_place(spec.start, partitions, "from"))
    if len(found) < partitions:
        raise Invalid(
            f"from names {len(found)} of the {partitions} partitions of {spec.topic}; name each, or end with ,*"
        )
    return found


async def ends(groups: Sequence[Hosted], survey: Survey) -> dict[tuple[str, int], int]:
    """Where each partition of their topics that is known here ends now. Raises Unavailable."""
    return await survey.ends({(one.spec.topic, partition) for one in groups for partition in range(one.partitions)})


async def described(hosted: Hosted, end: dict[tuple[str, int], int]) -> dict[str, Any]:
    """A group as people see it: what it is, who its members are, how far behind it is, and what is stuck."""
    ledger, topic = hosted.books.ledger, hosted.spec.topic
    members, standing = await hosted.shared.show(range(hosted.partitions))
    known = {one.partition: one for one in standing}
    begin = starts(ledger.spec or {"start": {}})
    rows = []
    for number in sorted(partition for name, partition in end if name == topic):
        one = known.get(number)
        position = one.floor if one else ledger.next.get((topic, number), begin.get(number, 0))
        rows.append(
            {
                "partition": number,
                "position": position,
                "end": end[topic, number],
                "lag": max(end[topic, number] - position, 0),
                "unsettled": one.unsettled if one else 0,
                "in_hand": one.in_hand if one else 0,
                "delayed": one.delayed if one else 0,
                "given_up": one.given_up if one else 0,
                "replaying": one.replaying if one else 0,
            }
        )
    return {
        "name": hosted.name,
        **hosted.spec.data(),
        "lag": sum(row["lag"] for row in rows),
        "members": [{"member": name, "seen_seconds_ago": round(ago, 1)} for name, ago in sorted(members.items())],
        "parked_keys": len(ledger.parked()),
        "dead_letters": len(ledger.letters),
        "skipped": ledger.skipped,
        "fault": hosted.dispatcher.fault() if hosted.dispatcher else None,
        "partitions": rows,
    }
