# SPDX-License-Identifier: Apache-2.0
"""Bounds that are checked before anything is parsed (rule 14). Sizes are bytes."""

from pydantic import BaseModel, ConfigDict, PositiveInt

from nerv.errors import Invalid, TooLarge

KIB = 1024
MIB = 1024 * KIB


class Limits(BaseModel):
    """Every bound is a setting: `NERV_LIMITS__BODY=2097152`."""

    model_config = ConfigDict(frozen=True)

    body: PositiveInt = MIB
    bodies: PositiveInt = 128 * MIB  # of all requests that are being read at one time
    event: PositiveInt = 256 * KIB
    batch: PositiveInt = 500
    headers: PositiveInt = 64
    header: PositiveInt = 8 * KIB
    address: PositiveInt = 32 * KIB
    json_depth: PositiveInt = 32


def check_json_depth(body: bytes, limit: int) -> None:
    """Refuse JSON nested deeper than `limit`, by counting brackets outside strings, before parsing it.

    The parser is native and recursive; the cheap test keeps the scan off the path of ordinary bodies.
    """
    if body.count(b"{") + body.count(b"[") <= limit:
        return
    brackets = _outside_strings(body)
    # Innermost pairs are dropped, a level at a time: a few passes in native code instead of a step for each bracket.
    for _ in range(limit):
        before, brackets = len(brackets), brackets.replace(b"{}", b"")
        if len(brackets) == before:
            break
    # Nothing is left of what is closed and not too deep. What is left opens too deep, or was never closed; the latter is
    # for the parser to refuse, as long as it is not deep either.
    levels = 0 if len(brackets) < before else limit
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in b"{" else -1
        if depth > levels:
            raise TooLarge(f"JSON is nested deeper than {limit} levels")


def _outside_strings(body: bytes) -> bytes:
    """The brackets outside strings, all of one kind: one that closes another kind is for the parser to refuse."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Without backslashes a quote begins or ends a string wherever it is, so that all other characters may go before the rest is
    # cut into pieces. Two quotes that then stand side by side, as those of most strings do, say nothing: they go, too.
    left = body.translate(_ONE_KIND, _NOT_STRUCTURE).replace(b'""', b"")
    return b"".join(left.split(b'"')[::2])


_NOT_STRUCTURE = bytes(b for b in range(256) if b not in b'{}[]"')
_ONE_KIND = bytes.maketrans(b"[]", b"{}")


def check_event_size(size: int, limits: Limits) -> None:
    """Refuse one event's data over the limit."""
    if size > limits.event:
        raise TooLarge(f"an event's data has {size} bytes; the limit is {limits.event} (NERV_LIMITS__EVENT)")


def check_batch(count: int, limits: Limits) -> None:
    """Refuse an empty batch, or one of more events than the limit."""
    if count == 0:
        raise Invalid("the batch is empty; send at least one event")
    if count > limits.batch:
        raise TooLarge(f"the batch has {count} events; the limit is {limits.batch} (NERV_LIMITS__BATCH)")
