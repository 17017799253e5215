# SPDX-License-Identifier: Apache-2.0
"""When a state is worth keeping: the policy of an app held against what a fold has cost since the last one that was kept."""

import time

from nerv.app import SnapshotPolicy

DEFAULT = SnapshotPolicy(events=200)  # some ms of folding: what a read waits at most, and half of it on average


class Replay:
    """What was gone through since the last state that was kept. Time counts from `resume` to `pause`.

    All states that are kept of a stream weigh no more than its events: one that outweighs what was gone through since the
    last waits until that has grown as large.
    """

    def __init__(self, policy: SnapshotPolicy) -> None:
        self._policy = policy
        self._events = self._bytes = self._least = 0
        self._seconds = 0.0
        self._since = time.perf_counter()

    def add(self, size: int) -> None:
        """One event more, with so many bytes of data."""
        self._events += 1
        self._bytes += size

    def pause(self) -> None:
        """Something else is done from now on."""
        self._seconds += time.perf_counter() - self._since

    def resume(self) -> None:
        """The fold goes on."""
        self._since = time.perf_counter()

    def due(self) -> bool:
        """Whether a bound of the policy is met."""
        policy = self._policy
        if self._events == 0 or self._bytes < self._least:
            return False
        if policy.events is not None and self._events >= policy.events:
            return True
        if policy.bytes is not None and self._bytes >= policy.bytes:
            return True
        return policy.seconds is not None and self._seconds + time.perf_counter() - self._since >= policy.seconds

    def keeps(self, state: bytes) -> bool:
        """Whether this state, which is due, is kept; then all counts begin anew."""
        if len(state) > self._bytes:
            self._least = len(state)
            return False
        self._events = self._bytes = self._least = 0
        self._seconds, self._since = 0.0, time.perf_counter()
        return True
