# SPDX-License-Identifier: Apache-2.0
"""The decorators of an app. Each records a spec and returns what it decorates unchanged, so that a test calls it plainly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from nerv.app.messages import check_message, is_protobuf, json_data, refusal_of_protobuf
from nerv.app.reading import check_changes, check_circles, check_topics, indexes_of
from nerv.app.specs import (
    WHOLE,
    BridgeSpec,
    Concurrency,
    DeciderSpec,
    End,
    EventSpec,
    Fold,
    Index,
    KeyRule,
    MessageClass,
    MiddlewareSpec,
    OnInvalid,
    Overlap,
    PerspectiveSpec,
    ProjectionSpec,
    Reaction,
    ReactionSpec,
    ScheduleSpec,
    SnapshotPolicy,
    SourceSpec,
    SyncSpec,
    TaskSpec,
    TopicSpec,
    UpcasterSpec,
    Way,
    Window,
    WorkflowSpec,
)
from nerv.app.upcasting import check_chains, check_named, latest, read_as, upcast
from nerv.bus import EventBus
from nerv.bus.chain import Chain, limited, named
from nerv.bus.model import Middleware, Selector
from nerv.errors import Misconfigured, SchemaMismatch
from nerv.model import Envelope, EventModel, event_of, faults_of
from nerv.perspectives import Perspective
from nerv.protocols.queue import Priority
from nerv.topics import DEFAULT_PARTITIONS
from nerv.types import Description, Event, check_id
from nerv.types.event import JSON

if TYPE_CHECKING:
    from nerv.aspects import Aspect, AspectWeaver
    from nerv.di import Container
    from nerv.effects import Handlers

CATCH_UP_LIMIT = 1000  # missed ticks that are followed late

Level = Literal["high", "normal", "low"]

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M", bound=type[EventModel])
C = TypeVar("C", bound=type[Any])


class App:
    """The registry of one NERV app. Names are unique in their kind; a second one is refused at import."""

    def __init__(self, name: str, *, results: str | None = None) -> None:
        """`results` is a URL that fsspec knows (`s3://bucket/results`, `file:///shared`): *scheduler* puts results of tasks there
        that are larger than 64 KiB.
        """
        self.name = check_id(name, "app name")
        self.results = results
        self.events: dict[str, EventSpec] = {}
        self.upcasters: dict[str, UpcasterSpec] = {}
        self._straight: dict[str, Callable[[bytes], Any]] = {}  # what validates data that are read as they come
        self.topics: dict[str, TopicSpec] = {}
        self.middleware: list[MiddlewareSpec] = []
        self.bridges: dict[str, BridgeSpec] = {}
        self.reactions: dict[str, ReactionSpec] = {}
        self.aspects: list[Aspect] = []
        self.projections: dict[str, ProjectionSpec] = {}
        self.snapshot_policies: dict[str | None, SnapshotPolicy] = {}
        self.perspectives: dict[tuple[str, str], PerspectiveSpec] = {}
        self.deciders: dict[str, DeciderSpec] = {}
        self.tasks: dict[str, TaskSpec] = {}
        self.workflows: dict[str, WorkflowSpec] = {}
        self.workflow_versions: dict[tuple[str, int], WorkflowSpec] = {}
        self.schedules: dict[str, ScheduleSpec] = {}
        self.sources: dict[str, SourceSpec] = {}
        self.syncs: dict[str, SyncSpec] = {}
        self._types: dict[type[EventModel], str] = {}

    @cached_property
    def container(self) -> "Container":
        """What the app's functions need: register components here, and `Inject` them into functions."""
        from nerv.di import Container  # takes as long to import as all else, and few apps have components

        return Container(self.name)

    @cached_property
    def bus(self) -> EventBus:
        """Signals of this process: whoever runs the app subscribes and sends here, and bridges lead in and out."""
        return EventBus(self.name)

    @property
    def has_container(self) -> bool:
        """Whether anybody has asked for it."""
        return "container" in vars(self)

    def topic(
        self,
        name: str,
        *,
        partitions: int = DEFAULT_PARTITIONS,
        config: Mapping[str, str] | None = None,
        invalid: OnInvalid | Literal["refuse", "deadletter"] = OnInvalid.REFUSE,
    ) -> None:
        """Declare a topic with other than the defaults. With `invalid="deadletter"` an event that is published to it and does not
        fit its schema is kept among the dead letters, where people edit and replay it; by default the request is refused.
        """
        spec = TopicSpec(name, partitions, dict(config or {}), OnInvalid(invalid))
        self._add(self.topics, name, spec, "topic")

    def keeps_invalid(self, topic: str) -> bool:
        """Whether what does not fit this topic becomes a dead letter."""
        spec = self.topics.get(topic)
        return spec is not None and spec.invalid is OnInvalid.DEADLETTER

    def event(
        self,
        type: str,  # noqa: A002 - CloudEvents' word
        *,
        topic: str | None = None,
        key: str | None = None,
        message: "MessageClass | None" = None,
    ) -> Callable[[M], M]:
        """Declare an event type. `key` names the field that keys it on its topic (empty values fall back to the subject).

        With `message`, a class that protoc has made, its data may also come as that message (content type
        `application/protobuf`): it is read by protobuf's JSON mapping into the same model, and its schema is registered, too.
        Raises Misconfigured where the message lacks a field that the model must have.
        """

        def register(model: M) -> M:
            if key is not None and key not in getattr(model, "model_fields"):  # noqa: B009 - mypy sees a type variable
                raise Misconfigured(f"event {type}: key {key!r} is not a field of {model.__name__}")
            if message is not None:
                check_message(type, model, message)
            self._add(self.events, type, EventSpec(model, type, topic, key, message), "event type")
            self._types[model] = type
            return model

        return register

    def upcaster(self, source: str, *, to: str) -> Callable[[F], F]:
        """Declare how data of an older event type becomes that of a newer one: a pure function, JSON to JSON.

        It is applied whenever such an event is read, by every fold, reaction and decider; what is recorded stays as it is.
        Chains are followed to their end. The older type need not be declared any more; where it is, it can still be written.
        """

        def register(function: F) -> F:
            self._add(self.upcasters, source, UpcasterSpec(source, to, function), "upcaster from")
            self._straight.pop(source, None)
            return function

        return register

    def use(
        self,
        *steps: Middleware,
        topic: str | None = None,
        types: Selector | None = None,
        way: Way | Literal["publish", "subscribe"] = Way.PUBLISH,
    ) -> None:
        """Add pure middleware (see `nerv.bus.middleware`), asked in the order of declaration: on the way to `topic` or, with
        `way="subscribe"`, to its subscribers; without a topic for all. `types` limits it to some events.

        Raises Misconfigured for what routes on the way to subscribers: there is no other topic to go to.
        """
        for step in map(named, steps):
            if step.routes and way == Way.SUBSCRIBE:
                raise Misconfigured(
                    f"middleware {step.name} routes; that is done on the way to the topic: way='publish'"
                )
            self.middleware.append(MiddlewareSpec(step, topic, types, Way(way)))

    def chain(self, topic: str, way: Way = Way.PUBLISH) -> Chain:
        """The middleware of a topic in its order, also for an `EventBus`."""
        asked = [spec for spec in self.middleware if spec.way is way and spec.topic in (None, topic)]
        return Chain(tuple(limited(spec.step, spec.types) for spec in asked))

    def bridge(self, name: str, source: str, target: str, *, types: Selector | None = None) -> None:
        """Declare that events go from one end to another: `topic:NAME` (Kafka), `stream:NAME` (Redis) or `bus` (`app.bus`).

        The broker carries them at least once, by the same id. One way; declare another for the way back: no event goes to a
        place where it has been. Raises Misconfigured for ends that are none, or are one and the same.
        """
        spec = BridgeSpec(check_id(name, "bridge"), End.of(source), End.of(target), types)
        if spec.source == spec.target:
            raise Misconfigured(f"bridge {name} leads from {source} to itself")
        self._add(self.bridges, name, spec, "bridge")

    def weave(self, *aspects: "Aspect") -> None:
        """Put aspects (`nerv.aspects`) around the app's reactions and around what performs effects, outermost first.

        A reaction with `batch` and the effects of a kind are one call for many. An aspect that waits makes all wait.
        """
        if "weaver" in vars(self):
            raise Misconfigured(f"the aspects of app {self.name} are in use already; declare them before")
        self.aspects += aspects

    @cached_property
    def weaver(self) -> "AspectWeaver":
        """The app's aspects."""
        from nerv.aspects import AspectWeaver  # few apps have aspects

        return AspectWeaver(*self.aspects, name=self.name)

    @cached_property
    def handlers(self) -> "Handlers":
        """Who performs effects of the app's own types: `app.handlers.on(Mail, send)`; `nerv.effects.effect_id()` is the id."""
        from nerv.effects import Handlers

        return Handlers(self.name)

    def on(
        self, event_type: str, *, topic: str | None = None, name: str | None = None, batch: int | None = None
    ) -> Callable[[F], F]:
        """Declare a reaction: a pure function from an event to effects (one, a sequence of them, or None).

        `topic` is where the events are read, when that is not the topic they are declared with: `changes:<projection>` for the
        deltas of a projection. Those come at least once, and under the same id, so that their effects are performed once, too.

        With `batch` it takes a list of at most so many events, those of a key in order, and gives a list as long: what each
        of them asks for. So an effect belongs to one event, and has the same id however events come together.
        """
        if batch is not None and batch < 1:
            raise Misconfigured(f"reaction to {event_type}: batch must be at least 1, not {batch}")

        def register(function: F) -> F:
            spec = self.events.get(event_type)
            source = topic or (spec.topic if spec is not None else None)
            if spec is None or source is None:
                raise Misconfigured(
                    f"reaction {function.__name__}: declare event {event_type} before it, with a topic or with one named here"
                )
            label = name or function.__name__
            reaction: Reaction = function
            self._add(self.reactions, label, ReactionSpec(label, event_type, source, reaction, batch), "reaction")
            return function

        return register

    def projection(
        self,
        name: str,
        *,
        on: Sequence[str] = (),
        key: KeyRule = None,
        category: str | None = None,
        state: Any = dict,
        merge: Callable[[Any, Any], Any] | None = None,
        window: Window | None = None,
        indexes: Mapping[str, type | Index] | None = None,
        topics: Sequence[str] = (),
        ephemeral: bool = False,
    ) -> Callable[[F], F]:
        """Declare a projection: a pure fold `(state, event) -> state`; the state before the first event is None.

        `on` lists the event types; without it all of the app's are folded.
        `state` is the type of the state (a pydantic model, a frozen dataclass, or dict). With `merge`, a pure function of two
        states that asks for no order, there is one state of all streams under the key `all`, folded in a part a partition. With
        `window` (`nerv.Window(seconds=3600, grace=600)`) each key has a state for each window.

        `indexes` are what views are found by: `{"at": str}` for a field of this name, or `{"late": nerv.Index(rule, int)}`.
        `topics` are folded instead of history: any topics of Kafka, `changes:<projection>`, and `history` beside others. With
        `ephemeral` they may expire; a projection whose topics do and that does not say so is refused at the start.
        """
        if merge is not None and window is not None:
            raise Misconfigured(
                f"projection {name}: either merge or window; a window needs a key or the entity of a stream"
            )
        if merge is not None and (key is not None or category is not None):
            raise Misconfigured(
                f"projection {name}: with merge there is one state of all streams; leave key and category out"
            )
        if merge is not None and indexes:
            raise Misconfigured(f"projection {name}: with merge there is one state; leave indexes out")
        check_topics(name, topics, keyed=key is not None or merge is not None, category=category)

        def register(function: F) -> F:
            fold: Fold = function
            of_streams = category or (name if key is None and merge is None and not topics else None)
            spec = ProjectionSpec(
                name, tuple(on), key, of_streams, state, fold, merge, window,
                indexes_of(indexes or {}), tuple(topics), ephemeral,
            )  # fmt: skip
            self._add(self.projections, name, spec, "projection")
            return function

        return register

    def snapshots(
        self,
        *,
        category: str | None = None,
        events: int | None = None,
        bytes: int | None = None,  # noqa: A002 - the word of the policy
        seconds: float | None = None,
    ) -> None:
        """Declare when states of streams are kept (see `SnapshotPolicy`), of one category or of all that have no own policy.

        Without any bound none are kept. Raises Invalid for a bound that is not positive.
        """
        self._add(self.snapshot_policies, category, SnapshotPolicy(events, bytes, seconds), "snapshots of category")

    def snapshot_policy(self, category: str | None) -> SnapshotPolicy | None:
        """What is declared for the streams of a category; None where nothing is."""
        return self.snapshot_policies.get(category, self.snapshot_policies.get(None))

    def perspective(
        self, projection: str, name: str, *, scope: str | None = None, default: bool = False
    ) -> Callable[[C], C]:
        """Declare a view of a projection's state for one kind of reader: a `nerv.Perspective`.

        With `scope` it is for those whose token holds that, and is what they are shown where they name none (of several the first
        one). With `default` it is shown to all who name none and have none by their scopes.
        """
        if name == WHOLE:
            raise Misconfigured(
                f"{WHOLE!r} asks for the state as it is; name the perspective of {projection} otherwise"
            )
        others = [spec.name for spec in self.perspectives.values() if spec.projection == projection and spec.default]
        if default and others:
            raise Misconfigured(f"projection {projection} has a default perspective already: {others[0]}")

        def register(model: C) -> C:
            if not issubclass(model, Perspective):
                raise Misconfigured(
                    f"perspective {name} of {projection} is {model.__name__}, which is no nerv.Perspective"
                )
            spec = PerspectiveSpec(projection, name, model, scope, default)
            self._add(self.perspectives, (projection, name), spec, "perspective")
            return model

        return register

    def decider(self, name: str, *, projection: str | None = None) -> Callable[[F], F]:
        """Declare a decider: a pure function `(state, command)` to an event, events, or `nerv.refuse(...)`.

        It writes streams of category `name`; their state is what `projection` (by default of the same name) folds of them,
        None before the first event. `nerv.deciders.Decider` runs it.
        """

        def register(function: F) -> F:
            self._add(self.deciders, name, DeciderSpec(name, function, projection or name), "decider")
            return function

        return register

    def task(
        self,
        *,
        name: str | None = None,
        retries: int = 0,
        timeout: float = 300.0,
        pool: Literal["auto", "processes"] = "auto",
        deadline: float | None = None,
        priority: Priority | Level | None = None,
        concurrency: Concurrency | None = None,
    ) -> Callable[[F], F]:
        """Declare a task; `retries` after the first attempt, `timeout` seconds an attempt, `deadline` seconds for all of them.

        One that is async runs on the event loop, another in a thread; with `pool="processes"` in a process of its own, for what
        keeps a processor busy. Such a function stands at the top of a module; it is given plain data and no components.
        What is ready with a higher `priority` begins first; without one it has that of its run. `concurrency` bounds how many run
        at once: `concurrency=nerv.workflows.Concurrency("customer", most=3)` for each value of the parameter `customer`.
        """
        if deadline is not None and deadline <= 0:
            raise Misconfigured(f"a task's deadline is more than 0 seconds, not {deadline}")

        def register(function: F) -> F:
            label = name or function.__name__
            if label.startswith(":"):
                raise Misconfigured(f"task {label}: names that begin with a colon are the mesh's own")
            level = None if priority is None else _priority(priority)
            spec = TaskSpec(label, function, retries, timeout, pool, deadline, level, concurrency)
            self._add(self.tasks, label, spec, "task")
            return function

        return register

    def workflow(
        self,
        name: str,
        *,
        version: int = 1,
        deadline: float | None = None,
        awaits: Mapping[str, str] | None = None,
        priority: Priority | Level = Priority.NORMAL,
    ) -> Callable[[F], F]:
        """Declare a workflow: a function that draws a DAG of tasks. A run that goes on `deadline` seconds after its start fails.

        `priority` is that of its runs: tasks that declare none of their own have it.

        Several versions of a workflow stand side by side: runs are started of the highest, unless another one is asked for, and
        stay with the version that they were started of.
        `awaits` maps event types that `w.event` waits for to the field by which an event is found:
        `awaits={"payment.made.v1": "order"}`.
        """
        if version < 1:
            raise Misconfigured(f"workflow {name}: versions count from 1, not {version}")
        if deadline is not None and deadline <= 0:
            raise Misconfigured(f"workflow {name}: a deadline is more than 0 seconds, not {deadline}")

        def register(function: F) -> F:
            spec = WorkflowSpec(name, function, deadline, dict(awaits or {}), version, _priority(priority))
            if (name, version) in self.workflow_versions:
                raise Misconfigured(f"app {self.name} declares workflow {name!r} twice in version {version}")
            self.workflow_versions[name, version] = spec
            known = self.workflows.get(name)
            if known is None or known.version < version:
                self.workflows[name] = spec
            return function

        return register

    def schedule(
        self,
        name: str,
        workflow: str,
        *,
        cron: str | None = None,
        every: float | timedelta | None = None,
        zone: str = "UTC",
        input: Mapping[str, Any] | Callable[[datetime], Mapping[str, Any]] | None = None,  # noqa: A002 - the workflow's word
        overlap: Overlap | Literal["skip", "queue", "cancel", "allow"] = Overlap.SKIP,
        catch_up: int = 1,
    ) -> None:
        """Declare that runs of a workflow are started at the ticks of a clock: by `cron` in a time zone (`zone="Europe/Berlin"`),
        or `every` so many whole seconds (counted from 1970).

        `input` is that of the runs, or a pure function of the tick's instant (UTC). `overlap` says what becomes of a tick while
        the run before it goes on; of ticks that were missed because no scheduler ran, the latest `catch_up` are followed late.
        Raises Misconfigured for what is no schedule.
        """
        from nerv.app.ticks import Ticks  # few apps have schedules, and cron is read by a library

        if not 0 <= catch_up <= CATCH_UP_LIMIT:
            raise Misconfigured(f"schedule {name}: catch_up is 0 to {CATCH_UP_LIMIT}, not {catch_up}")
        ticks = Ticks.of(cron, every, zone)
        spec = ScheduleSpec(check_id(name, "schedule"), workflow, ticks, input or {}, Overlap(overlap), catch_up)
        self._add(self.schedules, name, spec, "schedule")

    def source(self, name: str) -> Callable[[C], C]:
        """Declare a source of `sync`."""

        def register(factory: C) -> C:
            if name in self.syncs:
                raise Misconfigured(f"source {name} is declared already, as a sync; names must be unique")
            self._add(self.sources, name, SourceSpec(name, factory), "source")
            return factory

        return register

    def sync(self, name: str) -> Callable[[C], C]:
        """Declare a `nerv.sync.Pair`: two sides that `sync` keeps equal. Sources have names of the same kind."""

        def register(pair: C) -> C:
            if name in self.sources:
                raise Misconfigured(f"sync {name} is declared already, as a source; names must be unique")
            self._add(self.syncs, name, SyncSpec(name, pair), "sync")
            return pair

        return register

    def type_of(self, event: EventModel) -> str:
        """The declared type of an event. Raises Misconfigured for a model of another app."""
        found = self._types.get(type(event))
        if found is None:
            raise Misconfigured(
                f"{type(event).__name__} is not an event of app {self.name}; declare it with @app.event"
            )
        return found

    def perspectives_of(self, projection: str) -> dict[str, type[Perspective]]:
        """The perspectives of a projection's state, by name."""
        return {spec.name: spec.model for spec in self.perspectives.values() if spec.projection == projection}

    def folded(self, projection: ProjectionSpec) -> tuple[str, ...]:
        """The event types that a projection folds, with the older ones that are read as one of them."""
        return read_as(projection.types or self.events, self.upcasters)

    def bare_type(self, topic: str) -> str | None:
        """What a record without `ce_` headers is read as: the one event type that is declared for its topic; None for several."""
        found = [spec.type for spec in self.events.values() if spec.topic == topic]
        return found[0] if len(found) == 1 else None

    def knows(self, event_type: str) -> bool:
        """Whether the app can read events of a type."""
        return event_type in self.events or event_type in self.upcasters

    def latest(self, event_type: str) -> str:
        """The type that events of this one are read as; itself where no upcaster is declared for it."""
        return latest(event_type, self.upcasters)

    def upcast(self, event: Event[bytes]) -> Event[bytes]:
        """The event as its newest type. Raises SchemaMismatch for one that its upcasters cannot read."""
        return upcast(self.as_json(event), self.upcasters) if event.type in self.upcasters else event

    def as_json(self, event: Event[bytes]) -> Event[bytes]:
        """The event with JSON data: another one only for data that are the protobuf message of its type.

        Raises SchemaMismatch for protobuf data that are not that message.
        """
        spec = self.events.get(event.type)
        if spec is None or spec.message is None or not is_protobuf(event.content_type):
            return event
        return replace(event, data=json_data(spec, event), content_type=JSON)

    def decode(self, event: Envelope) -> EventModel:
        """The app's model of an event as it came over the wire, brought up to its newest type; from a message or a record, the
        envelope is made only when `meta` is asked for.

        Raises SchemaMismatch with the path of each fault, or for a type that the app does not declare.
        """
        validate = self._straight.get(event.type)
        if validate is None:
            return self._decode(event)
        try:
            decoded: EventModel = validate(event.data)
        except ValidationError as error:
            raise schema_mismatch(self.events[event.type], event, error) from None
        return decoded.received(event)

    def _decode(self, event: Envelope) -> EventModel:
        """The same of any type. What validates one that is read as it comes is kept: folds do little else than to read events."""
        if event.type in self.upcasters:
            event = self.upcast(event_of(event))
        spec = self.events.get(event.type)
        if spec is None:
            raise SchemaMismatch(f"app {self.name} declares no event type {event.type!r}")
        try:
            # What `model_validate_json` calls, without its looking through options first, which takes longer than the reading.
            decoded: EventModel = spec.model.__pydantic_validator__.validate_json(json_data(spec, event))
        except ValidationError as error:
            raise schema_mismatch(spec, event, error) from None
        if spec.message is None and spec.type not in self.upcasters:
            self._straight[spec.type] = spec.model.__pydantic_validator__.validate_json
        return decoded.received(event)

    def all_topics(self) -> dict[str, TopicSpec]:
        """Every topic that the app's events name, declared or by default."""
        found = dict(self.topics)
        for spec in self.events.values():
            if spec.topic is not None:
                found.setdefault(spec.topic, TopicSpec(spec.topic, DEFAULT_PARTITIONS))
        return found

    def describe(self) -> Description:
        """The app as data: the topics it listens to, the events it knows, and how many it declares of each kind.

        `nerv.app.picture.picture` says all of it, `nerv describe` shows that.
        """
        kinds = (
            "events",
            "reactions",
            "deciders",
            "projections",
            "perspectives",
            "tasks",
            "workflows",
            "sources",
            "syncs",
        )
        return Description(
            "App",
            self.name,
            inputs=tuple(dict.fromkeys(reaction.topic for reaction in self.reactions.values())),
            outputs=tuple(self.events),
            counters={kind: len(getattr(self, kind)) for kind in kinds},
        )

    def check(self) -> None:
        """Find what names something that is not declared. Raises Misconfigured."""
        check_chains(self.upcasters, self.events)
        for reaction in self.reactions.values():
            check_named(f"reaction {reaction.name}", (reaction.event_type,), self.upcasters)
            check_changes(reaction.name, reaction.topic, self.projections)
        for projection in self.projections.values():
            check_named(f"projection {projection.name}", projection.types, self.upcasters)
            missing = [t for t in projection.types if t not in self.events]
            if missing:
                raise Misconfigured(f"projection {projection.name} folds undeclared events: {', '.join(missing)}")
        check_circles(self.projections)
        for decider in self.deciders.values():
            if decider.projection not in self.projections:
                raise Misconfigured(
                    f"decider {decider.name} needs projection {decider.projection}, which is not declared; "
                    "declare it, or name another: @app.decider(..., projection=...)"
                )
        for schedule in self.schedules.values():
            if schedule.workflow not in self.workflows:
                raise Misconfigured(
                    f"schedule {schedule.name} names workflow {schedule.workflow}, which is not declared"
                )
        for workflow in self.workflow_versions.values():
            for event_type, found_by in workflow.awaits.items():
                event = self.events.get(event_type)
                if event is None or event.topic is None:
                    raise Misconfigured(
                        f"workflow {workflow.name} awaits {event_type}; declare that event with a topic"
                    )
                if found_by not in event.model.model_fields:
                    raise Misconfigured(
                        f"workflow {workflow.name} finds {event_type} by {found_by!r}, which is not a field of it"
                    )
        for owner, name in self.perspectives:
            if owner not in self.projections:
                raise Misconfigured(f"perspective {name} names projection {owner}, which is not declared")
        if self.has_container:
            self.container.graph()

    def _add(self, registry: dict[Any, Any], name: Any, spec: Any, kind: str) -> None:
        if name in registry:
            raise Misconfigured(f"app {self.name} declares {kind} {name!r} twice")
        registry[name] = spec


def schema_mismatch(spec: EventSpec, event: Envelope, error: ValidationError) -> SchemaMismatch:
    """The refusal of an event whose data its model refuses, with the path of each fault."""
    if spec.message is None and (refusal := refusal_of_protobuf(event)) is not None:
        return refusal
    faults = faults_of(error)
    first = faults[0]
    return SchemaMismatch(
        f"event {event.id} does not fit {event.type}: {first['path']}: {first['detail']}", errors=faults
    )


def _priority(given: Priority | Level) -> Priority:
    try:
        return Priority(given)
    except ValueError:
        raise Misconfigured(f"a priority is high, normal or low, not {given!r}") from None
