# SPDX-License-Identifier: Apache-2.0
"""Reading some fields out of a state: where each is looked up, and its validation by pydantic, compiled for all of them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from nerv.perspectives.declaring import Declared
from nerv.perspectives.markers import Path

MISSING: Final = object()


def pick(state: Any, path: Path) -> Any:
    """What lies at a path of mappings, objects and sequences; MISSING where it ends early."""
    for part in path:
        if type(state) is dict or isinstance(state, Mapping):  # the first is what nearly all are, and told quickly
            state = state.get(part, MISSING)
        elif isinstance(part, int):
            inside = isinstance(state, Sequence) and -len(state) <= part < len(state)
            state = state[part] if inside else MISSING
        else:
            state = getattr(state, part, MISSING)
        if state is MISSING:
            return MISSING
    return state


class Reading:
    """Fields of one class, each with the type that it is validated as (lax, as pydantic does by default).

    When no field lies deeper, a plain dict goes to pydantic as it is, which looks up the fields alone. From other states
    they are picked first.
    """

    def __init__(self, name: str, config: ConfigDict, fields: Iterable[tuple[Declared, Any]]) -> None:
        chosen = list(fields)
        self._direct = all(len(one.path) == 1 and isinstance(one.path[0], str) for one, _ in chosen)
        paths = {one.path[0] if self._direct else one.name: one.path for one, _ in chosen}
        self._top = [(key, path[0]) for key, path in paths.items() if len(path) == 1]
        self._deep = [(key, path) for key, path in paths.items() if len(path) != 1]
        self._shape = typed_dict(name, config, {one.name: self._typed(one, kind) for one, kind in chosen})

    def read(self, state: Any) -> dict[str, Any]:
        """The fields of a state. Raises pydantic's ValidationError."""
        found: dict[str, Any] = self._one.validate_python(self._input(state))
        return found

    def read_all(self, states: list[Any]) -> list[dict[str, Any]]:
        """The fields of each state. Raises pydantic's ValidationError, of all together."""
        found: list[dict[str, Any]] = self._all.validate_python([self._input(state) for state in states])
        return found

    def _input(self, state: Any) -> Any:
        if self._direct and type(state) is dict:
            return state
        if type(state) is dict:
            found = {key: state[part] for key, part in self._top if part in state}
        else:
            found = {key: value for key, part in self._top if (value := pick(state, (part,))) is not MISSING}
        for key, path in self._deep:
            value = pick(state, path)
            if value is not MISSING:
                found[key] = value
        return found

    def _typed(self, declared: Declared, kind: Any) -> Any:
        if self._direct and declared.path[0] != declared.name:
            return Annotated[kind, declared.info, Field(validation_alias=str(declared.path[0]))]
        return Annotated[kind, declared.info]

    @cached_property
    def _one(self) -> Any:
        return TypeAdapter(self._shape).validator

    @cached_property
    def _all(self) -> Any:
        return TypeAdapter(list[self._shape]).validator  # type: ignore[name-defined]


def typed_dict(name: str, config: ConfigDict, fields: Mapping[str, Any], about: str | None = None) -> Any:
    """A typed dict for pydantic, which makes plain dicts of it, in a quarter of the time that objects take."""
    make: Any = TypedDict
    made = make(name, dict(fields))
    made.__pydantic_config__ = ConfigDict(**{**config, "loc_by_alias": False, "hide_input_in_errors": True})
    made.__doc__ = about
    return made
