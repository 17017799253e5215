# SPDX-License-Identifier: Apache-2.0
"""Call a task by its spec: async ones on the loop, others in a thread of their own, both under the task's time-out."""

import asyncio
import hashlib
import inspect
import typing
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nerv.app import App, TaskSpec
from nerv.client import Client
from nerv.errors import Misconfigured
from nerv.workflows import PermanentError, Result
from nerv.workflows.drawing import plain
from nerv_scheduler.pools import Processes, Threads, packed

_ONE_BY_ONE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Callee:
    """A task that is ready to be called; `client` is the parameter that gets a `nerv.Client`.

    `offered` is its signature as workflows see it, without the client; `hints` are its annotations. So many arguments as `places`
    go to its parameters one by one; None when it is not that simple.
    """

    spec: TaskSpec
    signature: inspect.Signature
    client: str | None
    is_async: bool
    offered: inspect.Signature
    hints: Mapping[str, Any]
    places: int | None = None


def callees(app: App) -> dict[str, Callee]:
    """Every task of the app. Raises Misconfigured for one that cannot have the client it asks for."""
    return {name: _callee(spec) for name, spec in app.tasks.items()}


def _callee(spec: TaskSpec) -> Callee:
    signature = inspect.signature(spec.function)
    is_async = inspect.iscoroutinefunction(spec.function)
    hints = _hints(spec)
    if spec.pool == "processes":
        packed(spec.function, ())
    client = next((name for name, hint in hints.items() if hint is Client), None)
    if client is not None and not is_async:
        raise Misconfigured(f"task {spec.name} takes a nerv.Client, so it must be an `async def`")
    offered = signature.replace(parameters=[p for name, p in signature.parameters.items() if name != client])
    by = spec.concurrency.by if spec.concurrency is not None else None
    if by is not None and by not in offered.parameters:
        known = ", ".join(offered.parameters) or "none"
        raise Misconfigured(f"task {spec.name} has the concurrency key {by!r}, which is no parameter; it has {known}")
    return Callee(spec, signature, client, is_async, offered, hints, None if client is not None else _places(offered))


def _places(offered: inspect.Signature) -> int | None:
    simple = all(parameter.kind in _ONE_BY_ONE for parameter in offered.parameters.values())
    return len(offered.parameters) if simple else None


def _hints(spec: TaskSpec) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(spec.function)
    except NameError as error:
        raise Misconfigured(f"task {spec.name}: an annotation cannot be read: {error}") from error
    return {name: hint for name, hint in hints.items() if name != "return"}


def _bound(callee: Callee, arguments: Sequence[Any], client: Client | None) -> Callable[[], Any]:
    """The call that is to be made; the client takes its parameter, wherever that stands. Raises PermanentError."""
    if len(arguments) == callee.places:
        return lambda: callee.spec.function(*arguments)  # as below, and several times as fast
    try:
        bound = callee.offered.bind(*arguments)
    except TypeError as error:
        raise PermanentError(f"task {callee.spec.name} cannot be called: {error}") from None
    if callee.client is None:
        return lambda: callee.spec.function(*bound.args, **bound.kwargs)
    whole = inspect.BoundArguments(callee.signature, OrderedDict(bound.arguments))
    whole.arguments[callee.client] = client
    return lambda: callee.spec.function(*whole.args, **whole.kwargs)


async def _contained(task: Awaitable[Any]) -> Any:
    """What a task returns; its attempts to end the process, or to cancel who called it, are its own failure."""
    try:
        return await task
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        raise RuntimeError(f"it raised {type(error).__name__}: {error}") from error
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        raise RuntimeError("it raised CancelledError") from error


async def invoke(
    callee: Callee,
    arguments: Sequence[Any],
    client: Client | None,
    threads: Threads,
    processes: Processes | None = None,
) -> Result:
    """One attempt. Raises TimeoutError, PermanentError for what can never work, or what the task raises."""
    spec = callee.spec
    call = _bound(callee, arguments, client)
    limit: asyncio.Timeout | None = None
    try:
        if spec.pool == "processes" and processes is not None:
            returned = await processes.call(spec.function, arguments, spec.timeout)
        else:
            async with asyncio.timeout(spec.timeout) as limit:
                returned = await (_contained(call()) if callee.is_async else threads.call(call))
    except TimeoutError as error:
        if limit is None or limit.expired():
            raise TimeoutError(f"task {spec.name} took longer than {spec.timeout:g} s") from error
        raise
    return _checked(callee, returned)


def call_now(callee: Callee, arguments: Sequence[Any]) -> Result:
    """One attempt at a task that is not async, here and now. Raises PermanentError, or what the task raises."""
    call = _bound(callee, arguments, None)
    try:
        return _checked(callee, call())
    except (SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration) as error:
        raise RuntimeError(f"it raised {type(error).__name__}: {error}") from error


def _checked(callee: Callee, returned: Any) -> Result:
    result = returned if isinstance(returned, Result) else Result(returned)
    try:
        return Result(plain(result.value, f"the result of {callee.spec.name}"), result.effects)
    except Exception as error:
        raise PermanentError(str(error)) from None


def concurrency_key(callee: Callee, arguments: Sequence[Any]) -> str:
    """The name of the concurrency key of a call, as short for a long value as for a short. Raises PermanentError."""
    concurrency = callee.spec.concurrency
    assert concurrency is not None  # noqa: S101 - who asks has looked
    value: Any = None
    if concurrency.by is not None:
        try:
            bound = callee.offered.bind(*arguments)
        except TypeError as error:
            raise PermanentError(f"task {callee.spec.name} cannot be called: {error}") from None
        bound.apply_defaults()
        value = bound.arguments[concurrency.by]
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise PermanentError(
                f"task {callee.spec.name}: its concurrency key {concurrency.by} is {str(value)[:80]!r}; "
                "it must be a text or a whole number"
            )
    scope = concurrency.scope or callee.spec.name
    return hashlib.blake2b(orjson.dumps([scope, value]), digest_size=12).hexdigest()
