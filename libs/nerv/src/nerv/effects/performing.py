# SPDX-License-Identifier: Apache-2.0
"""Effects performed as they are, without a program: one, or many of which each has its own outcome."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from nerv.effects.batching import Batcher
from nerv.effects.together import all_or_nothing
from nerv.types import Effect

AT_ONCE = 64  # effects that are performed one by one at the same time

Handler: TypeAlias = Callable[[Any], Any]
"""Takes an effect; gives the answer, or an awaitable of it."""


class Registered(NamedTuple):
    """A handler, and what collects effects for it if it takes them in batches."""

    call: Handler
    batcher: Batcher | None = None


Find: TypeAlias = Callable[[type[Effect[Any]]], Registered]
"""Who performs effects of a type. Raises Misconfigured."""


async def answered(answer: Any) -> Any:
    """What a handler gave, awaited where it has to be."""
    return await answer if hasattr(answer, "__await__") else answer


async def perform_all(effects: Sequence[Effect[Any]], find: Find) -> list[Any]:
    """The outcome of each, in order: the answer, or the error in its place. Cancelled, it leaves nothing behind."""
    outcomes: list[Any] = [None] * len(effects)
    batches: dict[Batcher, list[int]] = {}
    single: list[int] = []
    for index, effect in enumerate(effects):
        try:
            batcher = find(type(effect)).batcher
        except Exception as error:  # nobody performs it; the others are performed
            outcomes[index] = error
        else:
            (single if batcher is None else batches.setdefault(batcher, [])).append(index)
    todo = iter(single)
    jobs = [_batch(batcher, indices, effects, outcomes) for batcher, indices in batches.items()]
    jobs += [_one_by_one(todo, effects, outcomes, find) for _ in range(min(AT_ONCE, len(single)))]
    await all_or_nothing(jobs)
    return outcomes


async def _batch(batcher: Batcher, indices: Sequence[int], effects: Sequence[Effect[Any]], outcomes: list[Any]) -> None:
    for start in range(0, len(indices), batcher.size):
        part = indices[start : start + batcher.size]
        try:
            answers: Sequence[Any] = await batcher.many([effects[index] for index in part])
        except Exception as error:  # of the handler as a whole, and so of each
            answers = [error] * len(part)
        for index, answer in zip(part, answers, strict=True):
            outcomes[index] = answer


async def _one_by_one(todo: Iterator[int], effects: Sequence[Effect[Any]], outcomes: list[Any], find: Find) -> None:
    for index in todo:
        effect = effects[index]
        try:
            outcomes[index] = await answered(find(type(effect)).call(effect))
        except Exception as error:
            outcomes[index] = error
