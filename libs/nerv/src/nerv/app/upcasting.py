# SPDX-License-Identifier: Apache-2.0
"""Evolution of events: data of an older type is made into that of a newer one as it is read. History stays as it is."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import orjson

from nerv.app.specs import UpcasterSpec
from nerv.errors import Misconfigured, SchemaMismatch
from nerv.types import Event

Upcasters = Mapping[str, UpcasterSpec]


def latest(event_type: str, upcasters: Upcasters) -> str:
    """The type that events of this one are read as: the end of its chain. Chains have been checked."""
    while (spec := upcasters.get(event_type)) is not None:
        event_type = spec.target
    return event_type


def read_as(wanted: Iterable[str], upcasters: Upcasters) -> tuple[str, ...]:
    """The wanted types, and all older ones that are read as one of them."""
    types = tuple(dict.fromkeys(wanted))
    return (*types, *(old for old in upcasters if old not in types and latest(old, upcasters) in types))


def upcast(event: Event[bytes], upcasters: Upcasters) -> Event[bytes]:
    """The event as its newest type; id, source, times and version stay.

    Raises SchemaMismatch for data that is no JSON, and for whatever an upcaster raises.
    """
    spec = upcasters.get(event.type)
    if spec is None:
        return event
    try:
        data = orjson.loads(event.data)
    except orjson.JSONDecodeError as error:
        raise SchemaMismatch(f"event {event.id} of {event.type} holds no JSON: {error}") from None
    while spec is not None:
        try:
            data = spec.function(data)
        except Exception as error:  # the app's code: it may raise anything
            raise SchemaMismatch(
                f"event {event.id}: the upcaster from {spec.source} to {spec.target} raised {type(error).__name__}: {error}"
            ) from error
        target, spec = spec.target, upcasters.get(spec.target)
    try:
        written = orjson.dumps(data)
    except orjson.JSONEncodeError as error:
        raise SchemaMismatch(f"event {event.id}: what was made of it for {target} is no JSON: {error}") from None
    return replace(event, type=target, data=written, dataschema=None)


def check_chains(upcasters: Upcasters, declared: Collection[str]) -> None:
    """Raises Misconfigured for a chain that ends at an undeclared type (a gap) or in itself (a cycle)."""
    for start in upcasters:
        chain = [start]
        while chain[-1] in upcasters:
            target = upcasters[chain[-1]].target
            if target in chain:
                raise Misconfigured(f"upcasters go in a circle: {' -> '.join((*chain, target))}")
            chain.append(target)
        if chain[-1] not in declared:
            raise Misconfigured(
                f"upcasters lead to an event type that is not declared: {' -> '.join(chain)}; "
                f"declare {chain[-1]} with @app.event, or an upcaster that goes on from it"
            )


def check_named(who: str, types: Iterable[str], upcasters: Upcasters) -> None:
    """Raises Misconfigured for who names a type that is never read, because an upcaster makes it another."""
    for named in types:
        if named in upcasters:
            raise Misconfigured(f"{who} names {named}, which is read as {latest(named, upcasters)}; name that instead")
