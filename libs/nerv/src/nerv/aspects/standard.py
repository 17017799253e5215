# SPDX-License-Identifier: Apache-2.0
"""The five concerns that every system has: logging, metrics, error handling, security, telemetry."""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

from nerv.aspects.model import Aspect, Call, Steps
from nerv.effects.monad import RetryPolicy
from nerv.errors import NervError, Unauthenticated
from nerv.telemetry import enabled, histogram, span
from nerv.telemetry import names as n
from nerv.types import Description, Principal

_acting: ContextVar[Principal | None] = ContextVar("nerv_acting", default=None)


class Logged(Aspect):
    """One line a call, after it: target, seconds, and for an error its class and text, one level `warning` up.

    No argument is logged unless `show` names its parameter: they may be secrets. Not active while `level` is filtered out.
    """

    name = "logging"

    def __init__(self, level: str = "info", *, show: tuple[str, ...] = ()) -> None:
        self._level = logging.getLevelNamesMapping()[level.upper()]
        self._show = show

    def active(self) -> bool:
        """Whether the log keeps lines of this level."""
        return bool(structlog.get_logger().is_enabled_for(self._level))

    def around(self, call: Call) -> Steps:
        """Before nothing, after a line."""
        began = time.perf_counter()
        log = structlog.get_logger(call.target)
        shown = {name: call.argument(name) for name in self._show}
        try:
            yield
        except Exception as error:
            level = max(self._level, logging.WARNING)
            seconds = time.perf_counter() - began
            log.log(level, "call.failed", target=call.target, seconds=seconds, error=repr(error), **shown)
        else:
            log.log(self._level, "call.done", target=call.target, seconds=time.perf_counter() - began, **shown)
        return None


class Measured(Aspect):
    """How often, how long (seconds) and how badly: a histogram for OpenTelemetry, and counters by target."""

    name = "metrics"

    def __init__(self) -> None:
        self._durations = histogram(n.CALL_DURATION)
        self.calls: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def describe(self) -> Description:
        """The aspect as data, with its counters."""
        counters = {"calls": self.calls.total(), "errors": self.errors.total()}
        return Description("Measured", self.name, tuple(sorted(self.calls)), counters=counters)

    def around(self, call: Call) -> Steps:
        """Before the clock is read, after again; a cancelled call counts as an error."""
        began = time.perf_counter()
        attributes = {n.CALL_TARGET: call.target}
        self.calls[call.target] += 1
        try:
            yield
        except BaseException as error:
            self.errors[call.target] += 1
            attributes[n.ERROR_TYPE] = type(error).__name__
        self._durations.record(time.perf_counter() - began, attributes)
        return None


class Guarded(Aspect):
    """Errors of others become errors of NERV's tree, and what may be tried again is tried again.

    `errors` maps classes of errors to classes of NervError; the first that fits counts. With `retry`, a call that failed
    with an error for which the policy holds is made again, as often and as long as the policy says: the call must bear
    repetition. In a function that is no coroutine function the pause blocks its thread.
    """

    name = "errors"

    def __init__(
        self, errors: Mapping[type[Exception], type[NervError]] | None = None, *, retry: RetryPolicy | None = None
    ) -> None:
        self._errors = dict(errors or {})
        self._retry = retry

    def around(self, call: Call) -> Steps:
        """Nothing before; after an error the mapped one, or another try."""
        policy = self._retry
        attempt, deadline, longest, pause = 1, 0.0, 0.0, 0.0
        if policy is not None:
            deadline, longest = time.monotonic() + policy.deadline, policy.first
        while True:
            try:
                yield pause
            except Exception as error:
                mapped = self._mapped(error, call)
                pause = random.uniform(0, longest)  # noqa: S311 - jitter, not a secret
                if (
                    policy is None
                    or attempt >= policy.attempts
                    or time.monotonic() + pause > deadline
                    or not policy.retries(mapped)
                ):
                    if mapped is error:
                        raise
                    raise mapped from error
                attempt, longest = attempt + 1, min(longest * 2, policy.longest)
            else:
                return None

    def _mapped(self, error: Exception, call: Call) -> Exception:
        found = next((ours for theirs, ours in self._errors.items() if isinstance(error, theirs)), None)
        return error if found is None else found(f"{call.target}: {type(error).__name__}: {error}")


class Secured(Aspect):
    """Only who has the scope gets through. `scope` names it for a call, or None for a call that is free to all.

    Who asks is said by `acting`. Nobody is Unauthenticated, who lacks the scope Forbidden; the call is not made then.
    """

    name = "security"

    def __init__(self, scope: Callable[[Call], str | None]) -> None:
        self._scope = scope

    def around(self, call: Call) -> Steps:
        """Before the check, after nothing."""
        needed = self._scope(call)
        if needed is not None:
            principal = _acting.get()
            if principal is None:
                raise Unauthenticated(f"{call.target} needs somebody with the scope {needed}; say who with acting(...)")
            principal.require(needed)
        yield
        return None


@contextmanager
def acting(principal: Principal) -> Iterator[None]:
    """Within the block, and in tasks begun there, this principal asks."""
    token = _acting.set(principal)
    try:
        yield
    finally:
        _acting.reset(token)


class Traced(Aspect):
    """A span around each call; an error marks it. Not active while tracing is off."""

    name = "telemetry"

    def active(self) -> bool:
        """Whether spans are recorded."""
        return enabled()

    def around(self, call: Call) -> Steps:
        """The span is current while the call runs."""
        with span(n.call(call.target), begin=True, attributes={n.CALL_TARGET: call.target}):
            yield
        return None
