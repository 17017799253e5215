# SPDX-License-Identifier: Apache-2.0
"""The identity of an effect: the same event gives the same ids, so that a redelivery repeats nothing."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nerv.types import Effect, Event

_performed: ContextVar[str | None] = ContextVar("nerv_effect_id", default=None)


def effect_ids(app: str, reaction: str, event: Event[bytes], effects: Iterable[Effect[Any]]) -> list[str]:
    """One id for each effect: a hash of app, reaction, source and id of the event, kind, target, and the ordinal among
    the effects of that kind on that target. 32 hexadecimal digits.
    """
    seen: Counter[tuple[str, str]] = Counter()
    ids = []
    for effect in effects:
        ordinal = seen[effect.kind, effect.target]
        seen[effect.kind, effect.target] += 1
        # Each part is preceded by its length, so that no two lists of parts make the same text.
        parts = (app, reaction, event.source, event.id, effect.kind, effect.target, str(ordinal))
        text = "".join(f"{len(part)}:{part}" for part in parts)
        ids.append(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
    return ids


def effect_id() -> str | None:
    """The id of the effect that a handler of the app is performing for a reaction: give it to whoever can drop a repeat by it.

    None outside of one.
    """
    return _performed.get()


@contextmanager
def performing(id: str) -> Iterator[None]:  # noqa: A002 - as everywhere
    """Within the block an effect of this id is performed."""
    token = _performed.set(id)
    try:
        yield
    finally:
        _performed.reset(token)
