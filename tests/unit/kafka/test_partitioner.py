# SPDX-License-Identifier: Apache-2.0
"""Keys go where Java clients put them."""

import pytest

from nerv.kafka.partitioner import murmur2, partition_of

# From Kafka's own test of Utils.murmur2 (clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java).
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), KNOWN.items())
def test_the_hash_is_java_s(key: bytes, hashed: int) -> None:
    """Kafka's published vectors."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


def test_the_partition_is_the_positive_part() -> None:
    """As Java: the sign bit is dropped before the remainder."""
    for key, hashed in KNOWN.items():
        assert partition_of(key.decode(), 7) == (hashed & 0x7FFFFFFF) % 7
