# SPDX-License-Identifier: Apache-2.0
"""Which fields of a perspective are asked for, and which scopes decide what a reader sees of it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from nerv.errors import Invalid
from nerv.perspectives.annotations import parts_of
from nerv.perspectives.declaring import CLASSES, fields_of
from nerv.perspectives.markers import Redacted
from nerv.perspectives.seen import Seen
from nerv.types.principal import ALL, Principal

# Names with what is asked for of the perspective below each, None for all of it; in the order of their declaration.
Selection = tuple[tuple[str, "Selection | None"], ...]


def nested(annotation: Any) -> tuple[type[Seen], ...]:
    """The perspectives in a type."""
    found = [part for part in parts_of(annotation) if isinstance(part, type) and issubclass(part, Seen)]
    return tuple(dict.fromkeys(found))


@lru_cache(CLASSES)
def selected(cls: type[Seen], fields: tuple[str, ...]) -> Selection:
    """Fields by name, those of nested perspectives as `leg.origin`. Raises Invalid for what is not shown."""
    if not fields:
        raise Invalid(f"no field of {cls.__name__} is asked for; name at least one, or leave `fields` out for all")
    asked: dict[str, list[str | None]] = {}
    for field in fields:
        name, dot, rest = field.partition(".")
        asked.setdefault(name, []).append(rest if dot else None)
    shown = {name: declared for name, declared in fields_of(cls).items() if declared.shown}
    for name in asked.keys() - shown.keys():
        raise Invalid(f"{cls.__name__} has no field {name[:100]!r}; it has {', '.join(shown)}")
    return tuple((name, _below(cls, name, asked[name])) for name in shown if name in asked)


@lru_cache(CLASSES)
def family(cls: type[Seen]) -> tuple[type[Seen], ...]:
    """A perspective and those nested in it, at any depth."""
    found = [cls]
    for one in found:  # which grows meanwhile
        inner = [kind for declared in fields_of(one).values() for kind in nested(declared.annotation)]
        found += [kind for kind in dict.fromkeys(inner) if kind not in found]
    return tuple(found)


@lru_cache(CLASSES)
def redacted_of(cls: type[Seen]) -> frozenset[str]:
    """The names of the redacted fields in a family."""
    every = [declared for one in family(cls) for declared in fields_of(one).values()]
    return frozenset(declared.name for declared in every if declared.marker(Redacted))


@lru_cache(CLASSES)
def scopes_of(cls: type[Seen]) -> frozenset[str]:
    """The scopes that decide what is seen of a family."""
    every = [declared for one in family(cls) for declared in fields_of(one).values()]
    return frozenset(found.scope for declared in every if (found := declared.marker(Redacted)))


def missing(cls: type[Seen], viewer: Principal | None) -> frozenset[str]:
    """Of the scopes that decide, those that a reader lacks; nobody in particular lacks them all."""
    scopes = scopes_of(cls)
    if viewer is None or not scopes:
        return scopes
    return frozenset() if ALL in viewer.scopes else scopes - viewer.scopes


def shows(cls: type[Seen], path: Sequence[str], viewer: Principal | None) -> bool:
    """Whether a reader is shown what stands at this path in a state, by some field of a perspective or of one nested in it."""
    lacking = missing(cls, viewer)
    for declared in fields_of(cls).values():
        redacted, own = declared.marker(Redacted), tuple(map(str, declared.path))
        hidden = redacted is not None and redacted.scope in lacking
        if declared.info is None or not declared.shown or hidden or tuple(path[: len(own)]) != own:
            continue
        inner = nested(declared.annotation)
        if not inner or any(shows(kind, path[len(own) :], viewer) for kind in inner):
            return True
    return False


def as_fields(fields: Sequence[str] | None) -> tuple[str, ...] | None:
    """What a caller gave as `fields`. Raises Invalid for one text, whose letters would be taken for names."""
    if isinstance(fields, str):
        raise Invalid(f"fields is a list of names, not the text {fields[:100]!r}")
    return None if fields is None else tuple(fields)


def _below(cls: type[Seen], name: str, rests: list[str | None]) -> Selection | None:
    if None in rests:
        return None
    inner = nested(fields_of(cls)[name].annotation)
    if len(inner) != 1:
        kind = "several perspectives" if inner else "no perspective"
        raise Invalid(f"{cls.__name__}.{name} holds {kind}, so that only all of it can be asked for: {name!r}")
    return selected(inner[0], tuple(rest for rest in rests if rest is not None))
