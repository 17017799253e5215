# SPDX-License-Identifier: Apache-2.0
"""What an app declares, as plain data: services, documents and the command line read these and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from nerv.bus.chain import Step
from nerv.bus.model import Selector
from nerv.errors import Invalid, Misconfigured
from nerv.model import EventModel
from nerv.perspectives import Perspective
from nerv.protocols.queue import Priority
from nerv.types import check_id

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from nerv.app.ticks import Ticks

MessageClass: TypeAlias = "type[Message]"
"""A class that protoc has made of a message."""

KeyRule = str | Callable[[Any], str | Sequence[str] | None] | Mapping[str, str] | None

INDEXED: tuple[type, ...] = (str, int, float, bool, datetime)

Fold = Callable[[Any, Any], Any]
Reaction = Callable[[Any], Any]
"""An event to an effect, a sequence of them, or None; for a list of events a list of such answers."""


@dataclass(frozen=True, slots=True)
class EventSpec:
    """A declared event type. `message` is the protobuf message that its data may be, beside JSON."""

    model: type[EventModel]
    type: str
    topic: str | None
    key: str | None
    message: "MessageClass | None" = None


@dataclass(frozen=True, slots=True)
class UpcasterSpec:
    """Data of an older event type into that of a newer one, JSON to JSON, pure."""

    source: str
    target: str
    function: Callable[[Any], Any]


class OnInvalid(StrEnum):
    """What becomes of an event whose data does not fit, at the door of its topic."""

    REFUSE = "refuse"  # the request is refused whole, with the path of each fault
    DEADLETTER = "deadletter"  # it becomes a dead letter of `door:<topic>`; the others of the request are published


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic of the app's own events."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    invalid: OnInvalid = OnInvalid.REFUSE


@dataclass(frozen=True, slots=True)
class ReactionSpec:
    """Event in, effects out; run in the broker adapter's consumer group. `topic` is as the app names it (`nerv.topics.full`).

    With `batch` the function takes a list of at most so many events, and answers as many times.
    """

    name: str
    event_type: str
    topic: str
    function: Reaction
    batch: int | None = None


class Way(StrEnum):
    """Where a middleware of the app is asked."""

    PUBLISH = "publish"  # before an event is written to its topic
    SUBSCRIBE = "subscribe"  # before a subscriber gets it; the topic holds it as it was written


@dataclass(frozen=True, slots=True)
class MiddlewareSpec:
    """A step of the chain of one topic, or of all (None), for the events that `types` selects."""

    step: Step
    topic: str | None
    types: Selector | None
    way: Way


@dataclass(frozen=True, slots=True)
class End:
    """One end of a bridge: a Kafka topic, a Redis stream, or the app's own bus of signals in the broker's process."""

    kind: Literal["topic", "stream", "bus"]
    name: str

    @classmethod
    def of(cls, text: str) -> "End":
        """`topic:NAME`, `stream:NAME` or `bus`. Raises Misconfigured."""
        kind, _, name = text.partition(":")
        if kind in ("topic", "stream") and name:
            return cls("topic" if kind == "topic" else "stream", check_id(name, kind))
        if text == "bus":
            return cls("bus", "")
        raise Misconfigured(f"an end of a bridge is topic:NAME, stream:NAME or bus, not {text!r}")

    def __str__(self) -> str:
        """As it was declared."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


@dataclass(frozen=True, slots=True)
class BridgeSpec:
    """Events that `types` selects go from one end to the other, by the broker."""

    name: str
    source: End
    target: End
    types: Selector | None


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """When the state of a stream is kept, so that the next fold begins there: once any bound is met since the last one.

    `events` are those gone through, `bytes` their data, `seconds` the measured time that it took. None does not bound;
    without any bound nothing is kept. Answers never depend on it.
    """

    events: int | None = None
    bytes: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("events", "bytes", "seconds"):
            bound = getattr(self, name)
            if bound is not None and bound <= 0:
                raise Invalid(f"a snapshot policy's {name} must be more than 0, not {bound}")


@dataclass(frozen=True, slots=True)
class Window:
    """Tumbling windows of so many seconds since 1970, by the time of events. One that comes more than `grace` seconds of event
    time behind the latest of its partition is late: it is folded no more.
    """

    seconds: int
    grace: int

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.grace < 0:
            raise Invalid(
                f"a window has 1 second or more and a grace of 0 or more, not {self.seconds} and {self.grace}"
            )

    def start(self, instant: datetime) -> datetime:
        """When the window began that an instant lies in."""
        seconds = int(instant.timestamp() // self.seconds) * self.seconds
        return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index of a projection: views are found by what `by` finds in their states, and in its order.

    `by` is a field of the state (`at`, `position.city`) or a pure function of it; it gives a value, several, or None for none.
    `kind` is what the values are: str, int or float (ordered as 64-bit floating point), bool, datetime. Who asks by it must hold
    `scope`, if one is named; a field that a perspective redacts asks for that scope by itself, a function for all of them.
    """

    by: str | Callable[[Any], Any]
    kind: type = str
    scope: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in INDEXED:
            known = ", ".join(kind.__name__ for kind in INDEXED)
            raise Misconfigured(f"an index is of one of the types {known}, not of {self.kind!r}")
        if isinstance(self.by, str) and "" in self.by.split("."):
            raise Misconfigured(f"an index is by a field such as position.city, not by {self.by!r}")


@dataclass(frozen=True, slots=True)
class ProjectionSpec:
    """A pure fold over history into one state for each key.

    `types` are the event types it folds (none: all of the app); others are passed over. Without `key` the key is
    the entity of the stream, of streams whose category is `category`; with `key` the events are rekeyed first. With `merge`
    there is one state of all streams: each partition folds a part of it, and a read merges the parts.
    With `window` each key has a state for each window: `key@2013-01-01T12:00:00Z`.
    `topics` are what is folded instead of history: any topics, `changes:<projection>` for the deltas of another projection, and
    `history` beside others. Their records are rekeyed, by `key` or else by their own. `ephemeral`: they may expire, and a rebuild
    folds what is left of them.
    """

    name: str
    types: tuple[str, ...]
    key: KeyRule
    category: str | None
    state: Any
    function: Fold
    merge: Callable[[Any, Any], Any] | None = None
    window: Window | None = None
    indexes: Mapping[str, Index] = field(default_factory=dict)
    topics: tuple[str, ...] = ()
    ephemeral: bool = False

    @property
    def rekeyed(self) -> bool:
        """Whether events are written under the keys of the projection before they are folded."""
        return self.key is not None or bool(self.topics)


WHOLE: Final = "state"  # asked for as a perspective it is the state as it is, for those who may see all of it


@dataclass(frozen=True, slots=True)
class PerspectiveSpec:
    """A view of a projection's state for one kind of reader: for those who hold `scope`, if one is named.

    Who names no perspective is shown the first one whose scope they hold; else the `default`, if one is declared.
    """

    projection: str
    name: str
    model: type[Perspective]
    scope: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class DeciderSpec:
    """(state, command) to events or a refusal. It writes streams of category `name`, whose state `projection` folds."""

    name: str
    function: Callable[[Any, Any], Any]
    projection: str


PLACES_LIMIT = 10_000  # under one concurrency key


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most `most` attempts at once of the tasks that share a key, in the whole mesh: `Concurrency("customer", most=3)`.

    `by` is a parameter of the task: each value of it, a text or a whole number, is a key of its own; None: one key for all.
    Tasks share keys when they name the same `scope`; without one each task has its own.
    """

    by: str | None = None
    most: int = 1
    scope: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.most <= PLACES_LIMIT:
            raise Misconfigured(f"a concurrency key has 1 to {PLACES_LIMIT} places, not {self.most}")


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task by its registered name. `timeout` is seconds for one attempt, `deadline` for all of them with their pauses.

    `pool` says where it runs: on the event loop when it is async and else in a thread (`auto`), or in a process of its own.
    Without a `priority` it has that of its run. `concurrency` bounds how many run at once.
    """

    name: str
    function: Callable[..., Any]
    retries: int
    timeout: float
    pool: Literal["auto", "processes"] = "auto"
    deadline: float | None = None
    priority: Priority | None = None
    concurrency: Concurrency | None = None


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A function that draws a DAG of tasks, in one of its versions. A run ends by `deadline` seconds after its start.

    `awaits` names the event types that runs wait for, and of each the field by which an event is found.
    """

    name: str
    function: Callable[..., Any]
    deadline: float | None = None
    awaits: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    priority: Priority = Priority.NORMAL


class Overlap(StrEnum):
    """What becomes of a tick while the run of the one before it goes on."""

    SKIP = "skip"  # it is passed over
    QUEUE = "queue"  # its run is started when the one before has ended
    CANCEL = "cancel"  # the run before is cancelled, and this one started
    ALLOW = "allow"  # both go on


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """Runs of a workflow at the ticks of a clock. `input` may be a pure function of the tick's instant (UTC).

    Of the ticks that were missed because no scheduler ran, the latest `catch_up` are followed late.
    """

    name: str
    workflow: str
    ticks: "Ticks"
    input: Mapping[str, Any] | Callable[[datetime], Mapping[str, Any]]
    overlap: Overlap
    catch_up: int

    def input_at(self, tick: datetime) -> Mapping[str, Any]:
        """The input of a tick's run. Raises Invalid when the function fails."""
        if not callable(self.input):
            return self.input
        try:
            return self.input(tick)
        except Exception as error:  # the team's code; what it raises is the team's to choose
            raise Invalid(f"the input of schedule {self.name}: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A diffsync source that `sync` keeps equal to the streams of a category."""

    name: str
    factory: type[Any]


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """A `nerv.sync.Pair`: two sides that `sync` keeps equal."""

    name: str
    pair: type[Any]
