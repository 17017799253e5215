# SPDX-License-Identifier: Apache-2.0
"""From records to answers: decoded, reacted to, each effect with its identity. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from nerv.app import App, ReactionSpec
from nerv.cloudevents import from_record, to_headers
from nerv.effects import Append, Publish
from nerv.kafka import Outgoing, Received
from nerv.kafka.deadletters import DeadLetter, Origin, where
from nerv.limits import Limits, check_event_size
from nerv.telemetry import Carrier
from nerv.telemetry.traffic import saw
from nerv.topics import full
from nerv.types import Event
from nerv_broker.middleware import Chains
from nerv_broker.model import Asked, answers_of, append_request, asked_of, describe, keyed, published
from nerv_broker.reactions.answers import Answer
from nerv_broker.reactions.replaying import Again


class Planner:
    """Answers batches of records by the reactions of an app, through the app's aspects."""

    def __init__(self, app: App, chains: Chains, limits: Limits, mesh: str) -> None:
        self._app, self._chains, self._limits = app, chains, limits
        self._reactions: dict[tuple[str, str], list[ReactionSpec]] = {}
        for reaction in app.reactions.values():
            self._reactions.setdefault((full(mesh, reaction.topic), reaction.event_type), []).append(reaction)
        weave = app.weaver.function if app.aspects else lambda function: function
        self._functions = {reaction.name: weave(reaction.function) for reaction in app.reactions.values()}

    @property
    def topics(self) -> list[str]:
        """The topics that have a reaction."""
        return sorted({topic for topic, _ in self._reactions})

    def event(self, record: Received) -> Event[bytes]:
        """The event in a record. Raises Invalid, or whatever is wrong with its bytes."""
        return from_record(record.headers(), record.value(), origin=where(record), timestamp_ms=record.timestamp()[1])

    def answers(
        self, events: Sequence[tuple[Event[bytes], Received]], passed: Mapping[Carrier, Carrier]
    ) -> list[Answer]:
        """What every reaction answers to some events, in their order; an error is an answer, too."""
        found: list[Answer] = []
        for event, record in events:
            reactions = self._reactions.get((record.topic(), self._app.latest(event.type)))
            if reactions:
                found += self._decoded(_hop(event, passed), record, reactions)
        self.react(found)
        return found

    def letters(self, name: str, letters: Sequence[DeadLetter]) -> tuple[list[Answer], dict[Origin, str]]:
        """What one reaction answers to dead letters, and of which of them, and why, there is no event."""
        reaction, answers, rubbish = self._app.reactions[name], list[Answer](), dict[Origin, str]()
        for letter in letters:
            record = Again(letter)
            try:
                event = self.event(record)
            except Exception as error:  # as it was the first time
                rubbish[letter.origin] = describe(error)
                continue
            [answer] = self._decoded(event, record, [reaction])
            answer.before = letter.attempt
            answers.append(answer)
        self.react(answers)
        return answers, rubbish

    def react(self, answers: Sequence[Answer]) -> None:
        """Ask the reactions, those that take batches for many at once. Answers that are errors of decoding stay as they are."""
        ready = [one for one in answers if one.model is not None]
        by_reaction = sorted(ready, key=lambda one: one.reaction.name)  # stable: the order of a reaction's events stays
        for _, group in groupby(by_reaction, key=lambda one: one.reaction.name):
            part = list(group)
            if part[0].attempt == 1:
                saw(f"topic:{part[0].record.topic()}", f"reaction:{part[0].reaction.name}", len(part))
            size = part[0].reaction.batch or 1
            for start in range(0, len(part), size):
                self._ask(part[start : start + size])

    def _decoded(self, event: Event[bytes], record: Received, reactions: Sequence[ReactionSpec]) -> list[Answer]:
        try:
            newest = self._app.upcast(event)
            model = self._app.decode(newest)
        except Exception as error:  # whatever is wrong with the data, the partition goes on (rule 15)
            return [Answer(reaction, record, event, error=error) for reaction in reactions]
        return [Answer(reaction, record, newest, model) for reaction in reactions]

    def _ask(self, part: Sequence[Answer]) -> None:
        reaction = part[0].reaction
        try:
            models = [one.model for one in part if one.model is not None]
            answers = answers_of(reaction, self._functions[reaction.name], models)
        except Exception as error:  # a reaction is the app's code: it may raise anything
            if len(part) > 1:  # one of them, but which?
                for one in part:
                    self._ask([one])
            else:
                part[0].error = error
            return
        for one, answer in zip(part, answers, strict=True):
            try:
                self._sort(one, asked_of(self._app, reaction, one.event, answer))
                one.error = None
            except Exception as error:  # of what it answered: nothing of it happens
                one.error = error

    def _sort(self, one: Answer, asked: Sequence[Asked]) -> None:
        """The effects of an answer as what they become; all that can be found wrong with them is found here."""
        one.appends = [append_request(self._app, a, a.effect) for a in asked if isinstance(a.effect, Append)]
        for request in one.appends:
            check_event_size(len(request.events[0].data), self._limits)
        one.records = [
            record for a in asked if isinstance(a.effect, Publish) for record in self._published(a, a.effect)
        ]
        one.calls = [a for a in asked if not isinstance(a.effect, Append | Publish)]

    def _published(self, asked: Asked, effect: Publish) -> list[Outgoing]:
        """The record of a publish behind the middleware of its topic; none where that drops it."""
        made = published(self._app, asked, effect)
        check_event_size(len(made.event.data), self._limits)
        if not self._chains.asks(made.topic):
            return [Outgoing(made.topic, made.event.data, made.key, to_headers(made.event))]
        [passed] = self._chains.published(made.topic, [made.event])
        if passed.event is made.event:
            left = [replace(made, topic=passed.topic)]
        else:
            left = [replace(k, key=made.key if effect.key else k.key) for k in keyed([passed], self._app, Carrier())]
        return [Outgoing(one.topic, one.event.data, one.key, to_headers(one.event)) for one in left]


def _hop(event: Event[bytes], passed: Mapping[Carrier, Carrier]) -> Event[bytes]:
    hop = passed.get(Carrier(event.traceparent, event.tracestate)) if passed else None
    return event if hop is None else event.traced(*hop)
