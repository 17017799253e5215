# SPDX-License-Identifier: Apache-2.0
"""Who may do what in Kafka and in Redis: one list (`acls.yaml`), for a mesh and its app, in the forms of others."""

from nerv.acls.naming import Names, names_of
from nerv.acls.rights import SERVICES, KafkaRight, RedisRight, kafka_rights, redis_rights

__all__ = ["SERVICES", "KafkaRight", "Names", "RedisRight", "kafka_rights", "names_of", "redis_rights"]
