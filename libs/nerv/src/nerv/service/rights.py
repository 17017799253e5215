# SPDX-License-Identifier: Apache-2.0
"""A service that is not given its rights says which it lacks, when it starts, and not when it first needs one."""

import asyncio

from nerv.acls import KafkaRight, Names, RedisRight, kafka_rights, names_of, redis_rights
from nerv.acls.rights import user_of
from nerv.app import find_app
from nerv.errors import Misconfigured, Unavailable, UnknownOutcome
from nerv.kafka.permitting import Permitting
from nerv.redis import connect
from nerv.redis.permitting import refused_keys
from nerv.service.settings import ServiceSettings


async def check_rights(name: str, settings: ServiceSettings) -> None:
    """Ask Kafka and Redis, where a service has a name there, what it may. Raises Misconfigured with all that it lacks.

    Of rights that are marked as rare nothing is said, nor of transactional ids, of which Kafka tells nobody anything: those are
    taken before a replica is ready. While Redis is away nothing is said of it: a service starts without it.
    """
    in_kafka, in_redis = settings.kafka.security_protocol != "PLAINTEXT", settings.redis.username is not None
    if not in_kafka and not in_redis:
        return
    names = names_of(settings.mesh, find_app(settings.app))
    lacks = await _in_kafka(name, settings, names) if in_kafka else []
    lacks += await _in_redis(name, settings, names) if in_redis else []
    if lacks:
        raise Misconfigured(
            f"it lacks rights: {'; '.join(lacks)}. `nerv acls` writes and gives what each service needs"
        )


async def _in_kafka(name: str, settings: ServiceSettings, names: Names) -> list[str]:
    mine = [right for right in kafka_rights(names) if right.user == user_of(names.mesh, name) and not right.rare]
    permitting = Permitting(settings.kafka, f"{name}-{settings.instance}-rights")
    lacking = await asyncio.to_thread(permitting.lacking, mine)
    return [f"to {' and '.join(operations)} {_of(right)} in Kafka ({right.why})" for right, operations in lacking]


def _of(right: KafkaRight) -> str:
    return f"{right.resource} {right.name}{'*' if right.prefixed else ''}"


async def _in_redis(name: str, settings: ServiceSettings, names: Names) -> list[str]:
    [mine] = [right for right in redis_rights(names) if right.user == user_of(names.mesh, name)]
    try:
        return [f"to the keys {pattern} in Redis" for pattern in await _refused(name, settings, mine)]
    except (Unavailable, UnknownOutcome):
        return []


async def _refused(name: str, settings: ServiceSettings, right: RedisRight) -> list[str]:
    redis = connect(settings.redis, f"{name}-{settings.instance}-rights")
    try:
        return await refused_keys(redis, [*right.keys, *right.reads])
    finally:
        await redis.aclose()
