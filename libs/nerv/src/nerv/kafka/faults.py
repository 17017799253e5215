# SPDX-License-Identifier: Apache-2.0
"""Every error of confluent-kafka, mapped into our tree: done, refused, or unknown (rule 1)."""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException

from nerv.errors import Invalid, Misconfigured, NervError, NotFound, Refused, TooLarge, Unavailable, UnknownOutcome

# Kafka refused before anything was written.
_REFUSED: dict[int, type[NervError]] = {
    KafkaError.MSG_SIZE_TOO_LARGE: TooLarge,
    KafkaError.INVALID_MSG: Invalid,
    KafkaError.INVALID_MSG_SIZE: TooLarge,
    KafkaError.RECORD_LIST_TOO_LARGE: TooLarge,
    KafkaError.INVALID_RECORD: Invalid,
    KafkaError.INVALID_CONFIG: Invalid,
    KafkaError.INVALID_PARTITIONS: Invalid,
    KafkaError.INVALID_REPLICATION_FACTOR: Invalid,
    KafkaError.POLICY_VIOLATION: Refused,
    KafkaError.TOPIC_EXCEPTION: NotFound,
    KafkaError._UNKNOWN_TOPIC: NotFound,
    KafkaError.UNKNOWN_TOPIC_OR_PART: NotFound,
    KafkaError._UNKNOWN_PARTITION: NotFound,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: Misconfigured,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: Misconfigured,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: Misconfigured,
    KafkaError.GROUP_AUTHORIZATION_FAILED: Misconfigured,
    KafkaError.SASL_AUTHENTICATION_FAILED: Misconfigured,
    KafkaError._AUTHENTICATION: Misconfigured,
}

# What an ACL of Kafka denies: it does not come right by itself.
DENIED = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
)
RIGHTS = "; `nerv acls` writes and gives what each service needs"


def told(error: "KafkaError | BaseException") -> str:
    """What Kafka's client says, and where rights come from if one lacks."""
    inner = error.args[0] if isinstance(error, KafkaException) else error
    if not isinstance(inner, KafkaError):
        return str(error)
    text = inner.str().rstrip(".")
    return f"{text}{RIGHTS}" if inner.code() in DENIED else text


def delivery_error(error: KafkaError) -> NervError:
    """What a failed delivery report means. Whatever is not surely refused is unknown."""
    code = error.code()
    if code in _REFUSED:
        return _REFUSED[code](f"Kafka refused the record: {told(error)}")
    if code == KafkaError._PURGE_QUEUE:
        return Unavailable("the record was never sent; send it again", retry_after=1.0)
    return UnknownOutcome(f"Kafka did not say whether it wrote the record ({error.str()}); repeat it with the same id")


def batch_error(errors: Sequence[NervError], size: int) -> NervError:
    """What the failure of some of `size` records means for all of them, taken as one write. `errors` is not empty.

    Nothing happened only if every record was turned away; a record that is refused is refused again when all are repeated.
    """
    told = f"{len(errors)} of {size} records failed"
    refused = [error for error in errors if isinstance(error, Refused | Misconfigured)]
    unknown = [error for error in errors if isinstance(error, UnknownOutcome)]
    if not unknown and len(errors) == size:
        worst = (refused or errors)[0]
        return type(worst)(f"{told}: {worst.detail}", retry_after=worst.retry_after)
    if refused and not unknown and len(refused) == len(errors):
        return type(refused[0])(f"{told}, the others are written: {refused[0].detail}")
    return UnknownOutcome(
        f"{told}, the others are written; repeat all with the same ids: {(unknown or errors)[0].detail}"
    )


def request_error(error: KafkaError | KafkaException) -> NervError:
    """What a failed read, admin or group request means: these change nothing."""
    inner = error.args[0] if isinstance(error, KafkaException) else error
    code = inner.code()
    if code in _REFUSED:
        return _REFUSED[code](f"Kafka refused: {told(inner)}")
    return Unavailable(f"Kafka does not answer as it should: {inner.str()}", retry_after=1.0)
