# SPDX-License-Identifier: Apache-2.0
"""How components are made, as providers of dependency-injector: each is a factory that is given what it needs."""

from collections.abc import Iterable, Mapping
from typing import Any

from dependency_injector import providers

from nerv.di.component import Component, Key, Kind


class Wiring:
    """The providers of one life of a container. A singleton is a slot, which is filled while it runs."""

    def __init__(self) -> None:
        self._factories: dict[Key, providers.Provider[Any]] = {}
        self._given: dict[Key, providers.Provider[Any]] = {}  # what those that need it are given

    def add(self, component: Component, needs: Mapping[str, Key], kinds: Iterable[Kind]) -> None:
        """One component more; what it `needs` (by parameter, of these `kinds`) has been added before it."""
        key = component.key
        if component.kind is Kind.VALUE:
            self._given[key] = providers.Object(component.make())
            return
        factory = providers.Factory(component.make)
        factory.add_kwargs(**{name: self._given[needed] for name, needed in needs.items()})
        if Kind.FACTORY not in kinds:
            # Only what factories make is awaited before it is handed on: a component may well be a future.
            factory.disable_async_mode()
        self._factories[key] = factory
        self._given[key] = providers.Dependency() if component.kind is Kind.SINGLETON else factory

    def make(self, key: Key, given: Mapping[str, Any] | None = None) -> Any:
        """A new one; `given` replaces what some of its parameters would get. Awaitable where its function is."""
        return self._factories[key](**(given or {}))

    def fill(self, key: Key, value: Any) -> None:
        """From now on those that need this singleton are given `value`."""
        self._given[key].override(providers.Object(value))
