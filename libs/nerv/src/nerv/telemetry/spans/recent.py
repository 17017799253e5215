# SPDX-License-Identifier: Apache-2.0
"""Spans that have ended and wait to be kept. Whoever ends one never waits: what is too many is dropped, and counted."""

from collections import deque

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor


class Recent(SpanProcessor):
    """The last link of the SDK's chain: takes spans from any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[ReadableSpan] = deque()
        self.dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        """It waits, if there is room."""
        if len(self._waiting) < self._most:
            self._waiting.append(span)
        else:
            self.dropped += 1

    def take(self, most: int) -> list[ReadableSpan]:
        """The oldest ones that wait."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
