# SPDX-License-Identifier: Apache-2.0
"""Boundary: the edge of a system, where what comes from outside is checked before anything inside sees it."""

from typing import Protocol, TypeVar

from nerv.types import Description

Raw = TypeVar("Raw", contravariant=True)
Valid = TypeVar("Valid")
Answer = TypeVar("Answer", covariant=True)


class Boundary(Protocol[Raw, Valid, Answer]):
    """Validate, process, handle errors; `nerv.boundary.cross` takes one thing over by these three steps.

    Whatever was taken over has one outcome: it was processed, or `handle` told the outside why not. Nothing that fails
    validation reaches the inside, and one thing that fails does not keep the next from crossing. Implemented by
    `nerv.service.http.Door` (a request of HTTP) and `nerv.bus.bridge.Bridge` (an event that came over a wire).
    """

    async def validate(self, raw: Raw) -> Valid:
        """What came, read and checked, limits first. Raises what `handle` then gets; Refused for what will never do."""
        ...

    async def process(self, valid: Valid) -> Answer:
        """Let it in."""
        ...

    async def handle(self, raw: Raw, error: Exception) -> Answer:
        """Tell the outside, without secrets and stack traces. Raises only when that cannot be done."""
        ...

    def describe(self) -> Description:
        """What it is, and how much has crossed it."""
        ...
