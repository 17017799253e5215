# SPDX-License-Identifier: Apache-2.0
"""What a container is told before it runs: registrations, overrides, what is discovered; and their graph."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Self, TypeVar

from nerv.di.component import Component, HealthCheck, Key, Kind, maker, name_of, needs_of
from nerv.di.graph import Graph, Node
from nerv.di.injecting import Injection
from nerv.di.order import order, resolve
from nerv.errors import Misconfigured
from nerv.types import check_id

F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", bound=Key)

GROUP = "nerv.components"  # entry points that `discover` loads unless told


class Registry:
    """Components by type or name, and tasks that need them.

    A component is made by its type, or by `make`: a class, a function, a coroutine function, or a generator function that
    yields it once and goes on when it is stopped. What is made is entered where it is a context manager (unless `enter` is
    False: a lock, for one, would be locked). Parameters without a default name what it needs, by their annotated type or by
    their own name; `needs` says otherwise for some. `name` is for people, where that of the type says too little. All raise
    Misconfigured for what cannot be.
    """

    def __init__(self, name: str) -> None:
        self.name = check_id(name, "container name")
        self._components: dict[Key, Component] = {}
        self._injections: list[Injection] = []
        self._running = False

    def singleton(
        self,
        key: K,
        make: Callable[..., Any] | None = None,
        *,
        lazy: bool = False,
        enter: bool = True,
        health: HealthCheck | None = None,
        needs: Mapping[str, Key] | None = None,
        name: str = "",
    ) -> K:
        """One for all, started with the container, or when it is first asked for if it is `lazy`. Gives the key, so that it
        can decorate a class.
        """
        made = maker(key, make)
        found = needs_of(make or made, name_of(key), needs or {})
        self._add(Component(key, Kind.SINGLETON, made, found, lazy=lazy, enter=enter, health=health, called=name))
        return key

    def scoped(
        self,
        key: K,
        make: Callable[..., Any] | None = None,
        *,
        enter: bool = True,
        needs: Mapping[str, Key] | None = None,
        name: str = "",
    ) -> K:
        """One for each scope."""
        made = maker(key, make)
        found = needs_of(make or made, name_of(key), needs or {})
        self._add(Component(key, Kind.SCOPED, made, found, enter=enter, called=name))
        return key

    def factory(
        self,
        key: K,
        make: Callable[..., Any] | None = None,
        *,
        needs: Mapping[str, Key] | None = None,
        name: str = "",
    ) -> K:
        """A new one whenever one is asked for. It is just made: nobody enters or stops it."""
        made = maker(key, make)
        if make is not None and made is not make:
            raise Misconfigured(f"{name_of(key)}: nobody stops what a factory makes; register it with scoped()")
        found = needs_of(made, name_of(key), needs or {})
        self._add(Component(key, Kind.FACTORY, made, found, enter=False, called=name))
        return key

    def value(self, key: Key, value: Any, *, name: str = "") -> None:
        """Something that is there already. The container does not stop what it has not started."""
        self._add(Component(key, Kind.VALUE, lambda: value, {}, called=name))

    def task(
        self,
        function: F,
        *,
        name: str = "",
        needs: Mapping[str, Key] | None = None,
        timeout: float | None = None,
    ) -> F:
        """A function whose parameters name components and other tasks; see `Container.tasks`. Also as a decorator.
        `timeout` is in seconds.
        """
        found = name or getattr(function, "__name__", "")
        if not found or found == "<lambda>":
            raise Misconfigured(f"{function!r} has no name of its own; give the task one with name=")
        self._add(Component(found, Kind.TASK, function, needs_of(function, found, needs or {}), timeout=timeout))
        return function

    def inject(self, function: F) -> F:
        """A function some of whose defaults are `Inject(key)`; also as a decorator. It stays the very function it is.

        While the container runs, those defaults are the components, lazy ones included; before and after it, they say what
        to do when they are used.
        """
        self._unless_running("inject")
        self._injections.append(Injection(function))
        return function

    def discover(self, group: str = GROUP) -> list[str]:
        """Load the entry points of a group: functions that take the container and register. Gives their names."""
        names = []
        for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
            where = f"entry point {point.name} = {point.value} of {point.dist.name if point.dist else 'nobody'}"
            try:
                point.load()(self)
            except Misconfigured as error:
                raise Misconfigured(f"{where}: {error.detail}", errors=error.errors) from error
            except Exception as error:  # it is somebody else's code: whatever it raises, this one has to be looked at
                raise Misconfigured(f"{where} does not load: {type(error).__name__}: {error}") from error
            names.append(point.name)
        return names

    @contextmanager
    def override(self, key: Key, value: Any) -> Iterator[Self]:
        """Within the block, `value` stands for a component, which is neither made nor stopped; for tests."""
        before = self.component(key)
        self._unless_running(f"override {before.name}")
        self._components[key] = Component(key, Kind.VALUE, lambda: value, {}, called=before.called)
        try:
            yield self
        finally:
            self._components[key] = before

    def component(self, key: Key) -> Component:
        """The registration of a key. Raises Misconfigured, saying what there is."""
        if key not in self._components:
            asked, *known = [repr(one) if isinstance(one, str) else name_of(one) for one in (key, *self._components)]
            has = ", ".join(known) or "nothing at all"
            raise Misconfigured(f"nobody provides {asked}; the container {self.name!r} has {has}")
        return self._components[key]

    def resolved(self, component: Component) -> dict[str, Key]:
        """The parameters of a component, and the keys that answer them; without those that nobody answers."""
        found = {parameter: resolve(self._components, component, parameter) for parameter in component.needs}
        return {parameter: key for parameter, key in found.items() if key is not None}

    def graph(self) -> Graph:
        """Components, tasks and functions that are injected into, and what each needs.

        Raises Misconfigured for a cycle or a missing part, with its path.
        """
        self._checked()
        return Graph((*map(self._node, self._components.values()), *map(self._function, self._injections)))

    def _checked(self) -> dict[Key, bool]:
        """Every component after what it needs, as `order` says; all of them and all injections can be had."""
        for injection in self._injections:
            self._check(injection)
        return order(self._components)

    def _check(self, injection: Injection) -> None:
        for key in injection.keys:
            if key not in self._components:
                raise Misconfigured(
                    f"{injection.name} wants {name_of(key)} injected, which nobody provides; register it"
                )
            component = self._components[key]
            if component.kind not in (Kind.SINGLETON, Kind.VALUE):
                raise Misconfigured(
                    f"{injection.name} wants {component.name} injected, which is a {component.kind}: a default is one for "
                    "all calls. Make it a singleton, or ask for it within the function"
                )

    def _node(self, component: Component) -> Node:
        needs = (self._components[key].name for key in self.resolved(component).values())
        return Node(component.name, component.kind, tuple(needs), component.lazy)

    def _function(self, injection: Injection) -> Node:
        needs = (self._components[key].name for key in injection.keys if key in self._components)
        return Node(f"{injection.name}()", Kind.FUNCTION, tuple(needs))

    def _add(self, component: Component) -> None:
        self._unless_running(f"register {component.name}")
        check_id(component.name, "component name")
        if component.key in self._components:
            raise Misconfigured(f"{component.name} is registered twice; use override() to replace it in a test")
        if any(component.name == other.name for other in self._components.values()):
            raise Misconfigured(
                f"something else is registered as {component.name}; tell them apart for people with name="
            )
        self._components[component.key] = component

    def _unless_running(self, doing: str) -> None:
        if self._running:
            raise Misconfigured(f"the container {self.name!r} runs already; {doing} before it is entered")
