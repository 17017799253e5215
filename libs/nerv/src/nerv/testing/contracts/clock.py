# SPDX-License-Identifier: Apache-2.0
"""What every implementation of `nerv.protocols.Clock` promises."""

from datetime import timedelta

from nerv.protocols import Clock


class ClockContract:
    """Inherit it and give a fixture `clock`."""

    def test_instants_are_utc(self, clock: Clock) -> None:
        """They carry their offset, and it is nought."""
        assert clock.now().utcoffset() == timedelta(0)

    def test_monotonic_seconds_never_go_back(self, clock: Clock) -> None:
        """Each reading is at least the one before."""
        readings = [clock.monotonic() for _ in range(1000)]
        assert readings == sorted(readings)
