# SPDX-License-Identifier: Apache-2.0
"""How much is traced, and how a process goes from one mode to the next."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any

from nerv.telemetry import batches
from nerv.telemetry.sampling import ARGUMENT, SAMPLER, Sampling
from nerv.telemetry.tracing import sample


class Mode(StrEnum):
    """`none`: the calls that make spans are taken out of the code. `off`: they are there, and tracing is turned off."""

    NONE = "none"
    OFF = "off"
    HUNDREDTH = "hundredth"
    ALL = "all"


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
    """Prepare this process, and those that it starts: they trace, until they `Switch`. Metrics are off in all modes: they are
    not what is measured.
    """
    for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", SAMPLER, ARGUMENT):
        os.environ.pop(name, None)
    os.environ |= {"OTEL_METRICS_EXPORTER": "none", "NERV_REDIS__URL": redis}


class Switch:
    """Goes from mode to mode; told the modules in which there are calls that make spans."""

    def __init__(self, *modules: Any) -> None:
        self._found = [
            (module, name, getattr(module, name)) for module in modules for name in NOTHING if hasattr(module, name)
        ]
        self._mode: Mode | None = None
        # What a process has to begin with, once, would be seen again and again where it is measured for some seconds.
        batches._budget = batches.Budget(batches.A_SECOND, batches.AT_ONCE)
        batches._budget._left = 0.0

    def to(self, mode: Mode) -> None:
        """From now on this process traces as much. The clock of the budget for batches stands still while nothing is traced."""
        budget = batches._budget
        if self._mode in SAMPLINGS:
            budget.left()  # which adds what has come until now
        else:
            budget._looked = time.monotonic()
        self._mode = mode
        for module, name, hook in self._found:
            setattr(module, name, NOTHING[name] if mode is Mode.NONE else hook)
        sample(SAMPLINGS.get(mode))
