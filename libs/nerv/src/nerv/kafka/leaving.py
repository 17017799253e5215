# SPDX-License-Identifier: Apache-2.0
"""How a member leaves its group, so that the others hear of it at once."""

import structlog
from confluent_kafka import Consumer, KafkaException

log = structlog.get_logger(__name__)


def leave(consumer: Consumer) -> None:
    """Leave the group, if in one, and close; waits until Kafka knows (5 s at most).

    Closing alone tells Kafka nothing when the member has no partition at that moment, as one that is still joining: its
    share would be nobody's until its session ends (librdkafka 2.16.0, cooperative-sticky).
    """
    try:
        consumer.unsubscribe()
        consumer.close()
    except (KafkaException, RuntimeError) as error:
        log.warning("leave", error=str(error))
