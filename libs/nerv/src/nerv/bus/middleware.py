# SPDX-License-Identifier: Apache-2.0
"""The kinds of middleware that every system needs, each a pure step of a chain: `app.use(redact("card.number"))`.

They take events whose data is JSON bytes, a pydantic model or a mapping, and give back the same form.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from nerv.bus.chain import Step
from nerv.bus.model import Predicate, Routed
from nerv.errors import Invalid, SchemaMismatch
from nerv.model import faults_of
from nerv.types import Event, check_id

MASK = "***"
ALL = 2**32  # of crc32


def transform(function: Callable[[Event[Any]], Event[Any]], name: str | None = None) -> Step:
    """`function(event)` gives the event that goes on in its place; id and source stay."""
    return Step(f"transform({name or function.__name__})", function)


def filter(accepts: Predicate, name: str | None = None) -> Step:  # noqa: A001 - as `middleware.filter` it is the word
    """Only events that `accepts(event)` accepts go on; others are dropped."""
    return Step(f"filter({name or accepts.__name__})", lambda event: event if accepts(event) else None)


def enrich(fields: Callable[[Event[Any]], Mapping[str, Any]], name: str | None = None) -> Step:
    """The fields that `fields(event)` gives are added to the data; those that are there already stay as they are."""

    def add(event: Event[Any]) -> Event[Any]:
        found = _read(event)
        new = {key: value for key, value in fields(event).items() if key not in found}
        return _written(event, {**found, **new}) if new else event

    return Step(f"enrich({name or fields.__name__})", add)


def redact(*paths: str, mask: Any = MASK) -> Step:
    """The fields at these paths (`card.number`; in lists, of each element) hold `mask` instead of what they held.

    An event whose data cannot be read is refused: who knows what it holds. Raises Invalid without a path.
    """
    if not paths or not all(paths):
        raise Invalid("name the fields to redact, such as redact('card.number')")
    parts = [path.split(".") for path in paths]

    def hide(event: Event[Any]) -> Event[Any]:
        found = _read(event)
        hidden = [_mask(found, path, mask) for path in parts]
        return _written(event, found) if any(hidden) else event

    return Step(f"redact({', '.join(paths)})", hide)


def sample(rate: float) -> Step:
    """About `rate` (0 to 1) of the events go on, chosen by source and id: a repeated event meets the same choice."""
    if not 0 <= rate <= 1:
        raise Invalid(f"the rate of a sample is from 0 to 1, not {rate!r}")
    bound = rate * ALL

    def choose(event: Event[Any]) -> Event[Any] | None:
        return event if zlib.crc32(f"{event.source}\0{event.id}".encode()) < bound else None

    return Step(f"sample({rate:g})", choose)


def validate(check: type[BaseModel] | Callable[[Event[Any]], str | None], name: str | None = None) -> Step:
    """Events whose data is no such model, or of which `check(event)` says a fault, are refused (SchemaMismatch)."""
    return Step(f"validate({name or check.__name__})", _fitting(check) if isinstance(check, type) else _checked(check))


def route(choose: Callable[[Event[Any]], str | None], to: Sequence[str], name: str | None = None) -> Step:
    """`choose(event)` names the topic, one of `to`, that the event goes to instead; None leaves it where it is.

    A bus of one process has no topics: there it goes on.
    """
    known = frozenset(check_id(topic, "topic") for topic in to)

    def turn(event: Event[Any]) -> Event[Any] | Routed:
        topic = choose(event)
        if topic is None:
            return event
        if topic not in known:
            raise Invalid(f"it names topic {topic!r}, which is not among {', '.join(sorted(known))}")
        return Routed(event, topic)

    return Step(f"route({name or choose.__name__})", turn, tuple(sorted(known)))


def _fitting(model: type[BaseModel]) -> Callable[[Event[Any]], Event[Any]]:
    def check(event: Event[Any]) -> Event[Any]:
        data = event.data
        try:
            if isinstance(data, bytes):
                model.model_validate_json(data)
            else:
                model.model_validate(data.model_dump() if isinstance(data, BaseModel) else data)
        except ValidationError as error:
            faults = faults_of(error)
            raise SchemaMismatch(f"{faults[0]['path']}: {faults[0]['detail']}", errors=faults) from None
        return event

    return check


def _checked(check: Callable[[Event[Any]], str | None]) -> Callable[[Event[Any]], Event[Any]]:
    def judge(event: Event[Any]) -> Event[Any]:
        if (fault := check(event)) is not None:
            raise SchemaMismatch(fault)
        return event

    return judge


def _read(event: Event[Any]) -> dict[str, Any]:
    """The fields of the data, as a copy of their own. Raises Invalid for data that has none."""
    data = event.data
    try:
        found = orjson.loads(
            data
            if isinstance(data, bytes)
            else data.model_dump_json()
            if isinstance(data, BaseModel)
            else orjson.dumps(data)
        )
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Invalid(f"the data of event {event.id} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"the data of event {event.id} is no JSON object")
    return found


def _written(event: Event[Any], fields: dict[str, Any]) -> Event[Any]:
    data = event.data
    if isinstance(data, bytes):
        return replace(event, data=orjson.dumps(fields))
    return replace(event, data=type(data).model_validate(fields) if isinstance(data, BaseModel) else fields)


def _mask(value: Any, path: Sequence[str], mask: Any) -> bool:
    """Whether anything was there to be hidden."""
    if isinstance(value, list):
        return sum(_mask(one, path, mask) for one in value) > 0  # not `any`: all of them are to be hidden
    if not isinstance(value, dict) or path[0] not in value:
        return False
    if len(path) > 1:
        return _mask(value[path[0]], path[1:], mask)
    value[path[0]] = mask
    return True
