# SPDX-License-Identifier: Apache-2.0
"""What failed records mean: for themselves, and for the batch that they were in."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from nerv.errors import Misconfigured, NervError, Refused, Retry, TooLarge, Unavailable, UnknownOutcome
from nerv.kafka.faults import DENIED, batch_error, delivery_error, request_error, told

REFUSED, UNSENT, UNKNOWN = TooLarge("r"), Unavailable("s", retry_after=1.0), UnknownOutcome("u")


@pytest.mark.parametrize("code", [code for code in range(-200, 130) if code])
def test_what_is_not_surely_refused_or_unsent_is_unknown(code: int) -> None:
    """Every code that a report may have."""
    error = delivery_error(KafkaError(code))
    assert isinstance(error, Refused | Misconfigured | UnknownOutcome) or code == KafkaError._PURGE_QUEUE
    if code in (KafkaError._MSG_TIMED_OUT, KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT, KafkaError._TRANSPORT):
        assert isinstance(error, UnknownOutcome)


@pytest.mark.parametrize(
    ("errors", "size", "kind"),
    [
        ([REFUSED], 1, TooLarge),
        ([REFUSED], 3, TooLarge),
        ([UNSENT, UNSENT], 2, Unavailable),
        ([REFUSED, UNSENT], 2, TooLarge),
        ([UNSENT], 2, UnknownOutcome),
        ([REFUSED, UNSENT], 3, UnknownOutcome),
        ([UNKNOWN], 1, UnknownOutcome),
        ([REFUSED, UNKNOWN], 2, UnknownOutcome),
    ],
)
def test_a_batch_is_as_bad_as_its_worst_record(errors: list[NervError], size: int, kind: type[NervError]) -> None:
    """A repeat without an id is allowed only where nothing at all was written."""
    error = batch_error(errors, size)
    assert type(error) is kind
    assert error.detail.startswith(f"{len(errors)} of {size} records failed")
    if error.retry is Retry.LATER:
        assert len(errors) == size
        assert error.retry_after


def test_a_right_that_lacks_leads_to_the_list() -> None:
    """Whatever was denied: the text says what writes and gives the rights."""
    for code in DENIED:
        assert "nerv acls" in request_error(KafkaError(code)).detail
        assert "nerv acls" in delivery_error(KafkaError(code)).detail
        assert "nerv acls" in told(KafkaException(KafkaError(code)))
    assert told(KafkaException(KafkaError(KafkaError._TIMED_OUT))) == "Local: Timed out"
    assert told(BufferError("full")) == "full"
