# SPDX-License-Identifier: Apache-2.0
"""How far behind a group is, in offsets and seconds."""

from hypothesis import given
from hypothesis import strategies as st

from nerv.kafka.lagging import MARKS, Ages, Behind, now_ms

TOPIC = ("a.b.v1", 0)


def test_the_age_is_that_of_the_oldest_batch_that_is_not_settled() -> None:
    """A batch is settled when its last record is; then the next one counts, and at last there is none."""
    ages = Ages()
    ages.read(10, now_ms() - 60_000)
    ages.read(20, now_ms() - 30_000)
    assert 60 <= ages.seconds() < 70
    ages.settled(9)
    assert 60 <= ages.seconds() < 70
    ages.settled(10)
    assert 30 <= ages.seconds() < 40
    ages.settled(20)
    assert ages.seconds() == 0


@given(st.integers(1, 3 * MARKS), st.data())
def test_however_much_waits_the_age_is_never_too_small(batches: int, data: st.DataObject) -> None:
    """Marks that are put together keep the older time, until the later of them is settled."""
    ages, begun = Ages(), now_ms() - 10_000_000
    for number in range(batches):
        ages.read(number + 1, begun + 1000 * number)
    settled = data.draw(st.integers(0, batches - 1))
    ages.settled(settled)
    assert len(ages._marks) <= MARKS
    assert ages.seconds() >= (now_ms() - begun - 1000 * settled) / 1000 - 1


def test_a_partition_that_goes_to_another_is_not_told_any_more() -> None:
    """Else a sum over replicas would count it twice."""
    behind = Behind("m.broker")
    behind.starts({TOPIC: 5})
    behind._ends = {TOPIC: 9}
    behind.reads({TOPIC: 7}, now_ms() - 2000)
    assert behind.lags() == {("m.broker", *TOPIC): 4}
    assert behind.delays()["m.broker", *TOPIC] >= 2
    behind.settles({TOPIC: 7})
    assert (behind.lags(), behind.delays()) == ({("m.broker", *TOPIC): 2}, {("m.broker", *TOPIC): 0.0})
    behind.stops([TOPIC])
    assert (behind.lags(), behind.delays()) == ({}, {})
