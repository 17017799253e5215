# SPDX-License-Identifier: Apache-2.0
"""Aspects, outermost first, made into one function that takes a Call. Aspects know nothing of sync and async; this does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from nerv.aspects.model import Answer, Aspect, Call, Steps
from nerv.errors import Internal

Proceed: TypeAlias = Callable[[Call], Any]
AsyncProceed: TypeAlias = Callable[[Call], Awaitable[Any]]


def chain(aspects: Sequence[Aspect]) -> Proceed:
    """For functions that answer at once."""
    proceed: Proceed = _make
    for aspect in reversed(aspects):
        proceed = _link(aspect, proceed)
    return proceed


def async_chain(aspects: Sequence[Aspect]) -> AsyncProceed:
    """For coroutine functions, and for functions that may give something to be awaited."""
    proceed: AsyncProceed = _await
    for aspect in reversed(aspects):
        proceed = _async_link(aspect, proceed)
    return proceed


def _make(call: Call) -> Any:
    return call.function(*call.args, **call.kwargs)


async def _await(call: Call) -> Any:
    answer = call.function(*call.args, **call.kwargs)
    return await answer if hasattr(answer, "__await__") else answer


def _link(aspect: Aspect, proceed: Proceed) -> Proceed:
    around = aspect.around

    def through(call: Call) -> Any:
        steps, made = around(call), _Made(aspect)
        try:
            pause = next(steps)
            while True:
                made.again(steps)
                try:
                    if pause:
                        time.sleep(pause)
                    result = proceed(call)
                except BaseException as error:
                    made.error = error
                    pause = steps.throw(error)
                else:
                    made.result = result
                    pause = steps.send(result)
        except StopIteration as stop:
            return made.outcome(stop.value)
        except RuntimeError as error:
            raise made.meant(error) from error.__cause__

    return through


def _async_link(aspect: Aspect, proceed: AsyncProceed) -> AsyncProceed:
    around = aspect.around

    async def through(call: Call) -> Any:
        steps, made = around(call), _Made(aspect)
        try:
            pause = next(steps)
            while True:
                made.again(steps)
                try:
                    if pause:
                        await asyncio.sleep(pause)
                    result = await proceed(call)
                except BaseException as error:
                    made.error = error
                    pause = steps.throw(error)
                else:
                    made.result = result
                    pause = steps.send(result)
        except StopIteration as stop:
            return made.outcome(stop.value)
        except RuntimeError as error:
            raise made.meant(error) from error.__cause__

    return through


_NOT_YET = object()


class _Made:
    """What has become of a call so far, and what the aspect may still make of it."""

    __slots__ = ("_aspect", "error", "result")

    def __init__(self, aspect: Aspect) -> None:
        self._aspect = aspect
        self.result: Any = _NOT_YET
        self.error: BaseException | None = None

    def again(self, steps: Steps) -> None:
        """The aspect lets the call go on, or go on once more. Nothing goes on after a cancellation."""
        error = self.error
        if error is not None and not isinstance(error, Exception):
            with suppress(RuntimeError):  # an aspect that will not be closed, either
                steps.close()
            raise error
        self.error, self.result = None, _NOT_YET

    def outcome(self, answer: Any) -> Any:
        """What the caller gets, once the aspect has ended with this answer."""
        error = self.error
        if isinstance(answer, Answer) and (error is None or isinstance(error, Exception)):
            return answer.value
        if error is not None:
            raise error
        if self.result is _NOT_YET:
            raise Internal(f"the aspect {self._aspect.name!r} ended before the call: it has to yield, answer or raise")
        return self.result

    def meant(self, raised: RuntimeError) -> BaseException:
        """Python makes a RuntimeError of a StopIteration that goes through a generator; the caller meant the latter."""
        error = self.error
        return error if error is not None and raised.__cause__ is error else raised
