# SPDX-License-Identifier: Apache-2.0
"""What a run waits for, pure: sleeps, signals, events of a topic. Folding its stream decides which wait takes which signal.

Signals of a name are taken in the order in which they stand in the stream, by waits in the order in which they were opened
there. So two replicas that look at once come to the same, and a signal that came before its wait is not lost.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from nerv.errors import Invalid
from nerv.types import Event, parse_instant
from nerv.workflows import Control
from nerv.workflows.drawing import LONGEST_SECONDS
from nerv_scheduler.record import NodeRecord, RunRecord, Signal, Wait

SIGNALS_LIMIT = 1000  # of one run, for all of them are read with it


def due_of(control: Control, arguments: list[Any], now: datetime) -> datetime | None:
    """When a wait that is reached now ends by itself; None for never. Raises Invalid for what is no time."""
    length = arguments[0] if control is Control.SLEEP else arguments[-1]
    if length is None and control is not Control.SLEEP:
        return None
    if isinstance(length, str):
        return parse_instant(length)
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 <= length <= LONGEST_SECONDS:
        raise Invalid(f"a wait is 0 to {LONGEST_SECONDS} seconds, or an instant with a time zone, not {length!r}")
    return now + timedelta(seconds=length)


def open_wait(data: Mapping[str, Any]) -> Wait:
    """The wait that an event opens."""
    due = data["due"]
    return Wait(Control(data["task"]), data["name"], data["value"], parse_instant(due) if due else None)


def signalled(nodes: Mapping[str, NodeRecord], signals: tuple[Signal, ...]) -> list[tuple[str, NodeRecord]]:
    """The nodes that take a signal that nobody has taken yet."""
    taken = {node.wait.given.id for node in nodes.values() if node.wait and node.wait.given}
    free = [signal for signal in signals if signal.id not in taken and not signal.consumed]
    given = []
    for name, node in nodes.items() if free else ():  # in the order of opening
        wait = node.wait
        if wait is None or wait.control is not Control.SIGNAL or wait.given or node.verdict is not None:
            continue
        found = next((signal for signal in free if signal.name == wait.name), None)
        if found is not None:
            free.remove(found)
            given.append((name, replace(node, wait=replace(wait, given=found))))
    return given


def signal_of(event: Event[bytes], data: Mapping[str, Any]) -> Signal:
    """The signal that an event is."""
    return Signal(data["id"], data["signal"], data["payload"], event.time)


def signal_names(record: RunRecord) -> list[str]:
    """What a run waits for, or will, or did."""
    found = [step.arguments[0] for step in record.dag.steps if step.task == Control.SIGNAL]
    return sorted({value for argument in found if (value := getattr(argument, "json", None))})


def awaited_key(wait: Wait) -> str:
    """What the queue finds a node by that waits for an event; empty for other waits. As short for a long value as for a short."""
    if wait.control is not Control.EVENT:
        return ""
    return key_of(wait.name, wait.value)


def key_of(name: str, value: str) -> str:
    """The key of events of a type whose field has a value; `name` is both, divided by a blank."""
    return hashlib.blake2b(f"{name}\n{value}".encode(), digest_size=12).hexdigest()


def outcome(wait: Wait, now: datetime) -> tuple[Any, str] | None:
    """What a wait comes to by now, and why (`signal`, `event`, `due`); None while it goes on."""
    if wait.given is not None:
        return wait.given.payload, "signal"
    if wait.received is not None:
        return wait.received["data"], "event"
    if wait.due is not None and wait.due <= now:
        return None, "due"
    return None
