# SPDX-License-Identifier: Apache-2.0
"""What a batch of records asks for: decoded, reacted to, sorted by kind of effect. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nerv.app import App, ReactionSpec
from nerv.cloudevents import from_record
from nerv.effects import Append, Http, Publish, Run
from nerv.kafka import Outgoing, Received
from nerv.kafka.deadletters import dead_letter, where
from nerv.protocols import AppendRequest
from nerv.telemetry import Carrier
from nerv.types import Event
from nerv_broker.model import Asked, append_request, describe, published, react


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that could not be dealt with, why, and whose fault it was."""

    record: Received
    cause: str
    by: str


@dataclass(frozen=True, slots=True)
class AskedAppend:
    """An append and the record that asked for it."""

    request: AppendRequest
    asked: Asked
    record: Received


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A run to start or a URL to call, and the record that asked for it."""

    effect: Run | Http
    asked: Asked
    record: Received


@dataclass(slots=True)
class Plan:
    """All that a batch asks for. `offsets` are the next ones to read once it is done."""

    appends: list[AskedAppend] = field(default_factory=list)
    calls: list[AskedCall] = field(default_factory=list)
    records: list[Outgoing] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)

    def outgoing(self, deadletters: str) -> list[Outgoing]:
        """What the transaction that ends the batch writes."""
        return [*self.records, *(dead_letter(deadletters, one.record, one.cause, one.by) for one in self.letters)]


class Planner:
    """Plans batches by the reactions of an app."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._reactions: dict[tuple[str, str], list[ReactionSpec]] = {}
        for reaction in app.reactions.values():
            self._reactions.setdefault((reaction.topic, reaction.event_type), []).append(reaction)

    @property
    def topics(self) -> list[str]:
        """The topics that have a reaction."""
        return sorted({topic for topic, _ in self._reactions})

    def read(self, records: Sequence[Received], plan: Plan) -> list[tuple[Event[bytes], Received]]:
        """The events of a batch; what is none becomes a dead letter. Moves the plan's offsets."""
        found = []
        for record in records:
            plan.offsets[record.topic(), record.partition()] = record.offset() + 1
            try:
                event = from_record(
                    record.headers(), record.value(), origin=where(record), timestamp_ms=record.timestamp()[1]
                )
            except Exception as error:  # whatever is wrong with the bytes, the partition goes on (rule 15)
                plan.letters.append(Letter(record, describe(error), "broker"))
                continue
            found.append((event, record))
        return found

    def react(self, event: Event[bytes], record: Received, passed: Mapping[Carrier, Carrier], plan: Plan) -> None:
        """Add what the reactions ask for because of one event; all of it, or a dead letter."""
        reactions = self._reactions.get((record.topic(), self._app.latest(event.type)))
        if not reactions:
            return
        hop = passed.get(Carrier(event.traceparent, event.tracestate)) if passed else None
        if hop is not None:
            event = replace(event, traceparent=hop.traceparent, tracestate=hop.tracestate)
        part = Plan()
        try:
            for asked in react(self._app, reactions, event):
                self._sort(asked, record, part)
        except Exception as error:  # a reaction is the app's code: it may raise anything, and would again
            plan.letters.append(Letter(record, describe(error), ", ".join(r.name for r in reactions)))
            return
        plan.appends += part.appends
        plan.calls += part.calls
        plan.records += part.records

    def _sort(self, asked: Asked, record: Received, part: Plan) -> None:
        effect = asked.effect
        if isinstance(effect, Append):
            part.appends.append(AskedAppend(append_request(self._app, asked, effect), asked, record))
        elif isinstance(effect, Publish):
            one = published(self._app, asked, effect)
            part.records.append(Outgoing(one.topic, one.event.data, one.key, one.headers))
        else:
            part.calls.append(AskedCall(effect, asked, record))
