# SPDX-License-Identifier: Apache-2.0
"""The chains of the app's topics, and a bounded history of what they did. No I/O."""

from collections.abc import Sequence
from dataclasses import replace

from nerv.app import App, Way
from nerv.bus import Chain, Passed
from nerv.errors import Refused, SchemaMismatch
from nerv.types import Event
from nerv_broker.middleware.journal import Journal

TOPICS = 1000  # whose history is kept; beyond, the one that was longest unused is forgotten


class Chains:
    """Asks the middleware of each topic, whole batches at a time."""

    def __init__(self, app: App, keep: int) -> None:
        """`keep` events are remembered of each topic."""
        self._app, self._keep = app, keep
        self._chains: dict[tuple[str, Way], Chain] = {}
        self._journals: dict[str, Journal] = {}

    def published(self, topic: str, events: Sequence[Event[bytes]], *, keeps_invalid: bool = False) -> list[Passed]:
        """What becomes of the events of one request, dropped ones among them. All or none: raises SchemaMismatch or Refused with
        index, id and cause of each that a middleware refuses. With `keeps_invalid` those that do not fit a schema raise nothing.
        """
        passed = self._run(topic, Way.PUBLISH, events)
        self._journal(topic).took(events, passed)
        faults = [one for one in passed if one.error and not (keeps_invalid and isinstance(one.error, SchemaMismatch))]
        if faults:
            raise _refusal(events, faults)
        return passed

    def changes(self, topic: str) -> bool:
        """Whether subscribers of a topic may get other events than stand in it."""
        return bool(self._chain(topic, Way.SUBSCRIBE))

    def asks(self, topic: str) -> bool:
        """Whether there is any middleware on the way to a topic."""
        return bool(self._chain(topic, Way.PUBLISH))

    def delivered(self, topic: str, events: Sequence[Event[bytes]]) -> list[Passed]:
        """What a subscriber gets of the events of a topic."""
        passed = self._run(topic, Way.SUBSCRIBE, events)
        if self.changes(topic):
            self._journal(topic).gave(passed)
        return passed

    def steps(self, topic: str) -> dict[str, list[str]]:
        """The steps of a topic on each way, in order."""
        return {way.value: [step.name for step in self._chain(topic, way)] for way in Way}

    def history(self, topic: str) -> dict[str, object]:
        """Steps, counts, and the last events of a topic: what this replica did since it started."""
        journal = self._journals.get(topic) or Journal(self._keep)
        return {"topic": topic, "steps": self.steps(topic)} | journal.to_dict()

    def as_json(self, event: Event[bytes]) -> Event[bytes]:
        """The event as steps and choices read it: with JSON, where its data are the protobuf message of its type."""
        try:
            return self._app.as_json(event)
        except SchemaMismatch:  # whoever needs its fields finds no JSON
            return event

    def _run(self, topic: str, way: Way, events: Sequence[Event[bytes]]) -> list[Passed]:
        """Protobuf data that no step changes go on as they are; changed, they are JSON."""
        if not (chain := self._chain(topic, way)):
            return chain.run(topic, events)
        read = [self.as_json(event) for event in events]
        passed = chain.run(topic, read)
        return [
            replace(one, event=sent) if one.event is seen and seen is not sent else one
            for one, sent, seen in zip(passed, events, read, strict=True)
        ]

    def _chain(self, topic: str, way: Way) -> Chain:
        if (found := self._chains.get((topic, way))) is None:
            if len(self._chains) >= 2 * TOPICS:
                self._chains.clear()
            found = self._chains[topic, way] = self._app.chain(topic, way)
        return found

    def _journal(self, topic: str) -> Journal:
        found = self._journals.pop(topic, None) or Journal(self._keep)
        self._journals[topic] = found  # the last one used is the last in the mapping
        if len(self._journals) > TOPICS:
            del self._journals[next(iter(self._journals))]
        return found


def _refusal(events: Sequence[Event[bytes]], faults: Sequence[Passed]) -> Refused:
    errors = [
        {"index": one.index, "id": events[one.index].id, "detail": one.error.detail, "errors": one.error.errors}
        for one in faults
        if one.error is not None
    ]
    schema = all(isinstance(one.error, SchemaMismatch) for one in faults)
    kind = SchemaMismatch if schema else Refused
    first = errors[0]
    return kind(
        f"{len(faults)} of {len(events)} events are refused, nothing was published; events[{first['index']}]: {first['detail']}",
        errors=errors,
    )
