# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Effectful` does."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import pytest

from nerv.effects import Handlers
from nerv.errors import Invalid, Misconfigured
from nerv.protocols import Effectful
from nerv.types import Effect, frozen


@frozen
class Doubled(Effect[int]):
    """Twice a number; a negative one is refused."""

    kind: ClassVar[str] = "contract.doubled"
    number: int


@frozen
class Summed(Effect[int]):
    """As `Doubled`, but asked in batches."""

    kind: ClassVar[str] = "contract.summed"
    number: int


@frozen
class Unheard(Effect[None]):
    """Nobody performs it."""

    kind: ClassVar[str] = "contract.unheard"


async def double(effect: Doubled) -> int:
    """Twice the number. Raises Invalid for a negative one."""
    await asyncio.sleep(0)
    if effect.number < 0:
        raise Invalid(f"{effect.number} is negative")
    return 2 * effect.number


def double_many(effects: Sequence[Summed]) -> list[int | Exception]:
    """Twice each number, or that effect's own error."""
    return [Invalid(f"{e.number} is negative") if e.number < 0 else 2 * e.number for e in effects]


def contract_handlers() -> Handlers:
    """What performs the contract's effects, to build the fixture `effectful` on."""
    return Handlers("contract").on(Doubled, double).on_batch(Summed, double_many, size=3)


class EffectfulContract:
    """Inherit it and give a fixture `effectful` that answers as `contract_handlers()` does, and performs nothing else."""

    async def test_an_effect_is_answered(self, effectful: Effectful) -> None:
        """One by one, and where a handler takes batches."""
        assert await effectful.perform(Doubled(21)) == 42
        assert await effectful.perform(Summed(21)) == 42

    async def test_an_error_comes_to_whoever_asked(self, effectful: Effectful) -> None:
        """As the handler raised it."""
        for effect in (Doubled(-1), Summed(-1)):
            with pytest.raises(Invalid, match="-1 is negative"):
                await effectful.perform(effect)

    async def test_many_have_an_outcome_each(self, effectful: Effectful) -> None:
        """In order, more than a batch, and one that fails harms no other."""
        numbers = [*range(100), -1, *range(100)]
        for effects in ([Doubled(n) for n in numbers], [Summed(n) for n in numbers]):
            outcomes = await effectful.perform_all(effects)
            assert isinstance(outcomes[100], Invalid)
            assert outcomes[:100] == outcomes[101:] == [2 * n for n in range(100)]
        assert await effectful.perform_all([]) == []

    async def test_what_nobody_performs_is_said(self, effectful: Effectful) -> None:
        """Before it is asked, when it is, and among others that are performed."""
        assert effectful.performs(Doubled)
        assert not effectful.performs(Unheard)
        with pytest.raises(Misconfigured, match="Unheard"):
            await effectful.perform(Unheard())
        found, missing = await effectful.perform_all([Doubled(1), Unheard()])
        assert found == 2
        assert isinstance(missing, Misconfigured)

    async def test_a_cancelled_call_leaves_nothing_behind(self, effectful: Effectful) -> None:
        """Who goes away in the middle leaves no task of it."""
        before = asyncio.all_tasks()
        asking = asyncio.create_task(effectful.perform_all([Doubled(n) for n in range(1000)]))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        assert asyncio.all_tasks() == before

    async def test_it_counts_what_it_performs(self, effectful: Effectful) -> None:
        """By kind, somewhere in its description."""
        await effectful.perform_all([Doubled(1), Doubled(2), Summed(3)])
        described = str(effectful.describe())
        assert "'contract.doubled': 2" in described
        assert "'contract.summed': 1" in described
