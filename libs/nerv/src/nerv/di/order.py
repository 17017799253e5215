# SPDX-License-Identifier: Apache-2.0
"""What comes before what: every fault of a graph is found before anything starts, and told with its path."""

from collections.abc import Mapping
from typing import TypeAlias

from nerv.di.component import Component, Key, Kind, name_of
from nerv.errors import Misconfigured

Components: TypeAlias = Mapping[Key, Component]
_Path: TypeAlias = tuple[Key, ...]


def resolve(components: Components, component: Component, parameter: str) -> Key | None:
    """The key that answers a parameter: the type it is annotated with, else the parameter's name; None if nobody does."""
    key = component.needs[parameter]
    if key in components:
        return key
    return parameter if parameter in components else None


def order(components: Components) -> dict[Key, bool]:
    """Every key after those that it needs; True where only a scope can give it.

    Raises Misconfigured with the path of the first fault; `errors` has all of them.
    """
    search = _Search(components)
    for key in components:
        search.visit(key, ())
    faults = search.faults
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise Misconfigured(faults[0] + more, errors=[{"detail": fault} for fault in faults])
    return search.done


class _Search:
    """Depth first, through what each one needs."""

    def __init__(self, components: Components) -> None:
        self.components = components
        self.done: dict[Key, bool] = {}
        self.faults: list[str] = []

    def visit(self, key: Key, path: _Path) -> None:
        if key in path:
            circle = _way((*path[path.index(key) :], key))
            self.faults.append(f"a cycle: {circle}; break it: let one of them be made without the other")
        elif key not in self.done:
            component = self.components[key]
            scoped = [self._needed(component, parameter, (*path, key)) for parameter in component.needs]
            self.done[key] = component.kind is Kind.SCOPED or (component.kind is Kind.FACTORY and any(scoped))

    def _needed(self, component: Component, parameter: str, path: _Path) -> bool:
        """Whether what a parameter needs lives in a scope."""
        key = resolve(self.components, component, parameter)
        if key is None:
            wanted = name_of(component.needs[parameter])
            self.faults.append(
                f"{_way(path)} needs {wanted} (parameter {parameter!r}), which nobody provides; register {wanted}"
                + (f", or a component named {parameter!r}" if parameter != wanted else "")
            )
            return False
        self.visit(key, path)
        scoped = self.done.get(key, False)
        if component.kind is not Kind.TASK and self.components[key].kind is Kind.TASK:
            self.faults.append(
                f"{_way((*path, key))}: {name_of(key)} is a task, and only tasks can need one; make {component.name} a task"
            )
        if scoped and component.kind in (Kind.SINGLETON, Kind.TASK):
            self.faults.append(
                f"{_way((*path, key))}: {name_of(key)} lives as long as a scope, {component.name} longer; make "
                f"{component.name} scoped, or {name_of(key)} a singleton"
            )
        return scoped


def _way(path: _Path) -> str:
    return " -> ".join(map(name_of, path))
