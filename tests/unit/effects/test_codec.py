# SPDX-License-Identifier: Apache-2.0
"""Effects, resources and states are the same after a way through each of their forms."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import nerv
from nerv.api.event.v1 import types_pb2
from nerv.cloudevents import from_proto, to_proto
from nerv.cloudevents.types_format import (
    resource_from_event,
    resource_from_proto,
    resource_to_event,
    resource_to_proto,
    state_from_event,
    state_from_proto,
    state_to_event,
    state_to_proto,
)
from nerv.effects import Append, Effect, Http, Log, Publish, ReadView, Run, Task, Timer
from nerv.effects.codec import EffectCodec
from nerv.errors import Misconfigured, SchemaMismatch
from nerv.types import EntityId, Event, LifecycleState, Resource, ResourceId, VersionedState, VersionId, frozen

NOW = datetime(2013, 1, 15, 12, tzinfo=UTC)


class Noted(nerv.Event):
    """An event of an app."""

    text: str
    at: datetime
    more: dict[str, int] = Field(default_factory=dict)


@frozen
class Charge(Effect[int]):
    """An effect of an app's own kind."""

    kind: ClassVar[str] = "billing.charge"
    account: str
    cents: int
    due: datetime
    tags: tuple[str, ...] = ()
    extra: Mapping[str, int] | None = None


CODEC = EffectCodec({"noted.v1": Noted}, [Charge])

names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))  # noqa: DTZ001
numbers = st.integers(-(2**53), 2**53)
jsons = st.recursive(
    st.none() | st.booleans() | numbers | names,
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
    max_leaves=5,
)
arguments = st.dictionaries(names, jsons, max_size=3)
models = st.builds(Noted, text=names, at=instants, more=st.dictionaries(names, numbers, max_size=2))
effects = st.one_of(
    st.builds(Append, names, models),
    st.builds(Publish, models, st.none() | names, st.none() | names),
    st.builds(Run, names, arguments),
    st.builds(Http, names, names, jsons),
    st.builds(Task, names, arguments),
    st.builds(Timer, st.floats(0, 1e9)),
    st.builds(ReadView, names, names, st.none() | names),
    st.builds(Log, names, arguments, st.sampled_from(["info", "error"])),
    st.builds(
        Charge,
        names,
        numbers,
        instants,
        st.lists(names, max_size=3).map(tuple),
        st.none() | st.dictionaries(names, numbers),
    ),
)
resources = st.builds(
    Resource[bytes],
    names.map(ResourceId),
    names,
    st.sampled_from(LifecycleState),
    st.none() | st.binary(max_size=20),
    st.lists(names.map(ResourceId), max_size=3).map(tuple),
    st.none() | names,
)
states = st.builds(
    VersionedState[bytes],
    names.map(EntityId),
    st.integers(0, 2**63 - 1).map(VersionId),
    st.binary(max_size=30),
    st.none() | instants,
    st.none() | instants,
)


@given(effects)
def test_an_effect_as_cloud_event(effect: Effect[Any]) -> None:
    """Type, subject and data hold all of it, also after the event's own way over the wire."""
    event = CODEC.to_event(effect, id="1", source="test", time=NOW)
    assert (event.type, event.subject) == (f"nerv.effect.{effect.kind}", effect.target or None)
    assert CODEC.from_event(from_proto(to_proto(event))) == effect


@given(effects, instants)
def test_an_effect_as_protobuf(effect: Effect[Any], time: datetime) -> None:
    """With its id and its time."""
    data = CODEC.to_proto(effect, id="1", time=time).SerializeToString()
    assert CODEC.from_proto(types_pb2.Effect.FromString(data)) == ("1", time, effect)


@given(resources)
def test_a_resource(resource: Resource[bytes]) -> None:
    """As CloudEvent and as protobuf."""
    assert resource_from_event(resource_to_event(resource, id="1", source="t", time=NOW)) == resource
    data = resource_to_proto(resource).SerializeToString()
    assert resource_from_proto(types_pb2.Resource.FromString(data)) == resource


@given(states)
def test_a_state(state: VersionedState[bytes]) -> None:
    """As CloudEvent and as protobuf."""
    assert state_from_event(state_to_event(state, id="1", source="t", time=NOW)) == state
    data = state_to_proto(state).SerializeToString()
    assert state_from_proto(types_pb2.VersionedState.FromString(data)) == state


def test_what_a_codec_does_not_know_it_refuses_to_write() -> None:
    """An effect or an event of another app."""
    with pytest.raises(Misconfigured, match="kinds="):
        EffectCodec().to_event(Charge("a", 1, NOW), id="1", source="t", time=NOW)
    with pytest.raises(Misconfigured, match="events="):
        EffectCodec().to_event(Append("a-1", Noted(text="x", at=NOW)), id="1", source="t", time=NOW)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("nerv.effect.unknown", b"{}"),
        ("other", b"{}"),
        ("nerv.effect.timer", b'{"seconds": "soon"}'),
        ("nerv.effect.timer", b"{"),
        ("nerv.effect.timer", b"[]"),
        ("nerv.effect.timer", b'{"minutes": 1}'),
        ("nerv.effect.append", b'{"stream": "a-1", "event": {"type": "gone.v1", "data": {}}}'),
        ("nerv.effect.append", b'{"stream": "a-1", "event": 3}'),
    ],
)
def test_what_is_no_effect_is_refused(kind: str, data: bytes) -> None:
    """With one error, whatever is wrong."""
    with pytest.raises(SchemaMismatch):
        CODEC.from_event(Event("1", "t", kind, NOW, data))


@pytest.mark.parametrize("data", [b"{}", b"3", b"{", b'{"version": "x", "state": "!"}'])
def test_what_is_no_resource_and_no_state_is_refused(data: bytes) -> None:
    """With one error, whatever is wrong."""
    with pytest.raises(SchemaMismatch):
        resource_from_event(Event("1", "t", "nerv.resource.v1", NOW, data, subject="r"))
    with pytest.raises(SchemaMismatch):
        state_from_event(Event("1", "t", "nerv.state.v1", NOW, data, subject="s"))
    with pytest.raises(SchemaMismatch):
        resource_from_proto(types_pb2.Resource(id="r", state=99))  # type: ignore[arg-type]  # of a later version
