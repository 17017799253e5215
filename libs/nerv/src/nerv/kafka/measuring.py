# SPDX-License-Identifier: Apache-2.0
"""What is measured of transactions: how long each takes, how many records it has, and how often one fails."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from nerv.telemetry import histogram
from nerv.telemetry import names as n

_durations = histogram(n.OPERATION_DURATION)
_sizes = histogram(n.COMMIT_RECORDS)


class Transactions:
    """The transactions for one destination: a topic, or the group whose offsets they move."""

    def __init__(self, destination: str) -> None:
        self._told = {n.SYSTEM: n.KAFKA, n.OPERATION_NAME: "commit", n.DESTINATION: destination}
        self._sizes = _sizes.of({n.DESTINATION: destination})
        self._done = _durations.of(self._told)

    @contextmanager
    def one(self, records: int) -> Iterator[None]:
        """Measure a transaction of so many records. Costs some microseconds; on any thread."""
        began, duration = time.perf_counter(), self._done
        try:
            yield
        except Exception as error:
            duration = _durations.of({**self._told, n.ERROR_TYPE: type(error).__name__})
            raise
        else:
            self._sizes.record(records)
        finally:
            duration.record(time.perf_counter() - began)
