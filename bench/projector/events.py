# SPDX-License-Identifier: Apache-2.0
"""What all sides read: JSON events of 200 bytes under 10,000 keys. Plain Python: peers import this, too."""

from collections.abc import Iterator

KEYS = 10_000
PARTITIONS = 4
TOPIC = "bench.counted.v1"  # what peers read: the value alone, without headers
TYPE = "counter.counted.v1"
TURN = 2_654_435_761  # a prime: keys come in no order, the same in every run
SIZE = 200


def key_of(number: int) -> str:
    """The key of an event."""
    return f"k{number * TURN % KEYS:05d}"


def value_of(number: int) -> bytes:
    """Its data."""
    body = b'{"n":%d,"amount":%d,"by":"somebody@example.org","place":"Newark Liberty Intl","note":"' % (
        number,
        number % 100,
    )
    return body + b"x" * (SIZE - len(body) - 2) + b'"}'


def events(count: int) -> Iterator[tuple[str, bytes]]:
    """Key and value of each."""
    return ((key_of(number), value_of(number)) for number in range(count))
