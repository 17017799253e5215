# SPDX-License-Identifier: Apache-2.0
"""Which traces are recorded, by the standard OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG.

OpenTelemetry's own samplers decide once the ids and the context of a span are made, which costs more than most work here does:
these decide before, and the SDK is asked only for what is recorded.
"""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nerv.errors import Misconfigured

SAMPLER, ARGUMENT = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
DEFAULT_RATIO: Final = 0.01  # of the traces that begin here; `make bench SUITE=telemetry` measures what that costs

_LENGTH = 55  # of a traceparent: 00-<32 hex>-<16 hex>-<2 hex>
_ODD = frozenset("13579bdf")  # the last bit of its flags says that it is sampled
_LOW = slice(19, 35)  # the half of a trace id by which OpenTelemetry's ratio decides
_BOUND = 1 << 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """The share of the traces that begin here and are recorded, and whether those of others are as their parent says."""

    ratio: float
    by_parent: bool = True

    def begins(self) -> bool:
        """Whether a new trace is recorded."""
        return random.random() < self.ratio  # noqa: S311 - no secret

    def goes_on(self, traceparent: str) -> bool:
        """Whether a trace that comes from elsewhere is recorded here."""
        if len(traceparent) != _LENGTH:
            return False
        if self.by_parent:
            return traceparent[54] in _ODD
        try:
            return int(traceparent[_LOW], 16) < round(self.ratio * _BOUND)
        except ValueError:
            return False


def sampling_of(environment: Mapping[str, str] = os.environ) -> Sampling:
    """What the environment asks for. Raises Misconfigured, naming the samplers there are."""
    name = environment.get(SAMPLER) or "parentbased_traceidratio"
    kind = name.removeprefix("parentbased_")
    ratios = {"always_on": 1.0, "always_off": 0.0}
    if kind not in (*ratios, "traceidratio"):
        known = ", ".join(f"{parent}{one}" for one in (*ratios, "traceidratio") for parent in ("", "parentbased_"))
        raise Misconfigured(f"{SAMPLER}={name} is not known here; use one of {known}")
    return Sampling(ratios[kind] if kind in ratios else _ratio(environment), by_parent=kind != name)


def _ratio(environment: Mapping[str, str]) -> float:
    text = environment.get(ARGUMENT) or str(DEFAULT_RATIO)
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise Misconfigured(f"{ARGUMENT} must be a share from 0 to 1, such as {DEFAULT_RATIO}, not {text!r}")
    return found
