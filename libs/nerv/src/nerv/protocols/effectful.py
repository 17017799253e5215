# SPDX-License-Identifier: Apache-2.0
"""Effectful: who carries effects out, or stands in for who would."""

from collections.abc import Sequence
from typing import Any, Protocol

from nerv.types import Description, Effect, R


class Effectful(Protocol):
    """Performs effects. Once each: a repeat after an error is the caller's affair, who knows whether it is safe.

    Implemented by `nerv.effects.Handlers` (live) and by `nerv.effects.Context` (live, recorded, as a dry run or a replay).
    Errors are those of the handlers; UnknownOutcome means that it may have happened.
    """

    def performs(self, effect: type[Effect[Any]]) -> bool:
        """Whether effects of this type are answered here."""
        ...

    async def perform(self, effect: Effect[R]) -> R:
        """The answer to one effect. Raises Misconfigured where nobody performs its type, or what its handler raises."""
        ...

    async def perform_all(self, effects: Sequence[Effect[Any]]) -> list[Any]:
        """The outcome of each, in order; an exception among them is that effect's own, and harms no other.

        They may be performed at the same time, and in batches.
        """
        ...

    def describe(self) -> Description:
        """What it performs, and how often it has."""
        ...
