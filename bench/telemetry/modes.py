# SPDX-License-Identifier: Apache-2.0
"""How much is traced in a turn, and how a process goes from one to the next."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any

from nerv.redis import RedisSettings
from nerv.telemetry.sampling import ARGUMENT, SAMPLER, Sampling
from nerv.telemetry.tracing import sample


class Mode(StrEnum):
    """`none`: the calls that make spans are taken out of the code. `off`: they are there, and tracing is turned off."""

    NONE = "none"
    OFF = "off"
    HUNDREDTH = "hundredth"
    ALL = "all"


TURNS = (*Mode, *reversed(Mode))  # of one process, in which something may change slowly
KEPT_SECONDS = 0.8  # until what a turn has left is written: spans are, twice a second
SAMPLINGS = {Mode.HUNDREDTH: Sampling(0.01), Mode.ALL: Sampling(1.0)}


class _Silent:
    @staticmethod
    def is_recording() -> bool:
        return False


def _block(*told: Any, **more: Any) -> AbstractContextManager[Any]:
    return _BLOCK


def _none(*told: Any) -> Sequence[Any]:
    return ()


_BLOCK = nullcontext(_Silent())
NOTHING: Mapping[str, Callable[..., Any]] = {
    "process_spans": lambda *told: nullcontext({}),
    "span_of_all": _block,
    "span": _block,
    "traced": _none,
    "with_context": _none,
    "arriving": lambda *told, **more: None,
    "recording": lambda: False,
}


def enter(redis: str) -> None:
    """Prepare this process, and those that it starts: they trace, until they `switch`. Metrics are off in all modes: they are
    not what is measured.
    """
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", SAMPLER, ARGUMENT):
        os.environ.pop(name, None)
    os.environ |= {"OTEL_METRICS_EXPORTER": "none", "NERV_REDIS__URL": redis}


def settings(redis: str) -> RedisSettings:
    """Where the mesh keeps its spans."""
    return RedisSettings(url=redis)


def switch(mode: Mode, hooks: "Hooks") -> None:
    """From now on this process traces as much."""
    if mode is Mode.NONE:
        hooks.take_out()
    else:
        hooks.put_back()
    sample(SAMPLINGS.get(mode))


class Hooks:
    """The calls that make spans in these modules."""

    def __init__(self, *modules: Any) -> None:
        self._found = [
            (module, name, getattr(module, name)) for module in modules for name in NOTHING if hasattr(module, name)
        ]

    def take_out(self) -> None:
        """Have there, in their place, what does nothing at all."""
        for module, name, _ in self._found:
            setattr(module, name, NOTHING[name])

    def put_back(self) -> None:
        """As they were."""
        for module, name, hook in self._found:
            setattr(module, name, hook)
