# SPDX-License-Identifier: Apache-2.0
"""A mesh as in production: Kafka by SASL_SSL with ACLs, Redis by TLS with users, JWTs at every door; all secrets made for it."""

import asyncio
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nerv.client import Client
from nerv.dev import kafka as kafka_server
from nerv.dev import redis as redis_server
from nerv.dev.certificates import Authority
from nerv.dev.folder import MeshFolder
from nerv.dev.guard import guard, mark
from nerv.dev.plan import Wanted, mesh_environment, plan_services
from nerv.dev.ports import Ports
from nerv.dev.processes import Process, stop_together
from nerv.dev.services import Service, Services
from nerv.dev.threads import threaded
from nerv.kafka.settings import KafkaSettings
from nerv.redis import RedisSettings
from tests.unit.service.issuing import AUDIENCE, ISSUER, jwks, token

NERV = Path(sys.executable).with_name("nerv")
PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
MESH = "nerv"  # as on the page, for the servers are this test's own
APP = "flights:app"
ADMINISTRATOR = "administrator"
WORD = "for-the-test"
STOP_SECONDS = 10.0
CLEAN = ("NERV_", "OTEL_", "KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL")

# What the token of each service must allow, as docs/security.md says.
SCOPES: Mapping[str, str] = {
    "temporal": "",
    "broker": "publications:write streams:append streams:read workflows:run",
    "projector": "streams:append streams:read",
    "sync": "mesh:read streams:append streams:read views:read",
    "scheduler": "streams:append streams:read topics:publish views:read",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What Kafka's authorizer said, once: of whom, of what, and by which ACL (empty where none allows it)."""

    user: str
    allowed: bool
    operation: str
    resource: str
    name: str
    request: str
    rule: tuple[str, bool] | None  # the name in the ACL, and whether it is a prefix


@dataclass
class Standing:
    """The servers, the services, and all that was made for them."""

    folder: Path
    environment: Mapping[str, str]
    kafka: str = ""
    redis: str = ""
    administrator: KafkaSettings = field(default_factory=KafkaSettings)
    servers: list[Process] = field(default_factory=list)
    services: Services = field(default_factory=lambda: Services(()))

    def __post_init__(self) -> None:
        self.paths = MeshFolder(self.folder / ".nerv", uuid.uuid4().hex[:12], persist=False)
        self.secrets = self.folder / "secrets"
        self.authority = Authority(self.folder / "certificates")
        self.ports = Ports(self.folder)

    def run(self, *words: str, environment: Mapping[str, str] = {}) -> str:
        """A command of `nerv` that stands on the page, as an operator gives it in this folder; answers what it printed."""
        assert f"$ nerv {' '.join(words)}" in PAGE
        ended = subprocess.run(
            [NERV, *words], cwd=self.folder, env={**self.environment, "NERV_MESH": MESH, **environment},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def kafka_as(self, user: str) -> KafkaSettings:
        """How a user gets into Kafka."""
        return KafkaSettings(
            bootstrap_servers=self.kafka,
            security_protocol="SASL_SSL",
            sasl_username=user,
            sasl_password_file=self.secrets / "kafka" / user,
            ssl_ca_file=self.authority.ca,
        )

    def redis_as(self, user: str) -> RedisSettings:
        """How a user gets into Redis."""
        return RedisSettings(
            url=self.redis,
            username=user,
            password_file=self.secrets / "redis" / user,
            ssl_ca_file=self.authority.ca,
        )

    def environment_of(self, user: str) -> dict[str, str]:
        """What tells a service, or `nerv`, to get into both as this user."""
        return variables("NERV_KAFKA__", self.kafka_as(user)) | variables("NERV_REDIS__", self.redis_as(user))

    def give(self) -> None:
        """Have rights and passwords stand in Kafka."""
        as_administrator = variables("NERV_KAFKA__", self.administrator)
        self.run("acls", "create", "--app", APP, "--passwords", "secrets/kafka", environment=as_administrator)

    def write_users(self) -> None:
        """The file of Redis's users, with an administrator for the test."""
        users = self.run("acls", "redis", "--app", APP, "--passwords", "secrets/redis")
        administrator = f"user {ADMINISTRATOR} on >{WORD} ~* &* +@all\n"
        (self.folder / "users.acl").write_text(users + administrator, encoding="utf-8")

    def serve(self, service: str, environment: Mapping[str, str]) -> tuple[int, str]:
        """How a service ends that cannot start, and what it says."""
        ended = subprocess.run(
            [NERV, "serve", service], cwd=self.folder, env={**self.environment, "NERV_INSECURE_DEV": "1", **environment},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return ended.returncode, ended.stderr

    def client(self, scope: str) -> Client:
        """Of the whole mesh, with a token for these scopes."""
        urls = {one.name: one.plan.url for one in self.services}
        return Client(urls, token=token(scope, "r1", exp=_tomorrow()))

    def decisions(self) -> list[Decision]:
        """All that the authorizer has said of users so far."""
        text = (self.folder / "kafka.log").read_text(encoding="utf-8")
        return [decision_of(found) for found in DECISION.finditer(text)]


DECISION = re.compile(
    rf"Principal = User:(?P<user>{MESH}-\w+) is (?P<said>Allowed|Denied) operation = (?P<operation>\w+) from host = \S+ "
    r"on resource = (?P<resource>\w+):(?P<kind>\w+):(?P<name>\S+) for request = (?P<request>\w+) with resourceRefCount = \d+ "
    r"based on rule (?P<rule>.*)"
)
RULE = re.compile(r"resourceName=([^,]*), patternType=(\w+)")


def decision_of(found: "re.Match[str]") -> Decision:
    """A line of the log."""
    rule = RULE.search(found["rule"])
    return Decision(
        found["user"],
        found["said"] == "Allowed",
        found["operation"].lower(),
        found["resource"].lower().replace("transactionalid", "transactional_id"),
        found["name"],
        found["request"],
        None if rule is None else (rule[1], rule[2] == "PREFIXED"),
    )


def variables(prefix: str, settings: KafkaSettings | RedisSettings) -> dict[str, str]:
    """Settings as variables of the environment."""
    found = settings.model_dump(exclude_none=True)
    return {f"{prefix}{name.upper()}": str(value) for name, value in found.items()}


@asynccontextmanager
async def secured(folder: Path) -> AsyncIterator[Standing]:
    """The mesh, with all five services ready."""
    token_ = uuid.uuid4().hex[:12]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(CLEAN)}
    made = Standing(folder, mark(clean, token_))
    async with threaded(guard(token_)):
        try:
            await asyncio.to_thread(_servers, made)
            _services(made)
            await made.services.start(list(made.services))
            yield made
        finally:
            running = [one.process for one in made.services if one.process is not None]
            await asyncio.to_thread(stop_together, running, STOP_SECONDS)
            await asyncio.to_thread(stop_together, made.servers, STOP_SECONDS)


def _servers(made: Standing) -> None:
    issue = made.authority.issue
    security = kafka_server.KafkaSecurity(issue("kafka"), issue(ADMINISTRATOR), made.authority.ca)
    server, made.administrator = kafka_server.start_secured(
        made.folder / "kafka", made.environment, log=made.folder / "kafka.log", ports=made.ports, security=security
    )
    made.kafka = server.address
    made.servers += [server.process] if server.process is not None else []
    made.give()
    (made.folder / "secrets" / "redis").mkdir(parents=True)
    (made.secrets / "redis" / ADMINISTRATOR).write_text(WORD, encoding="utf-8")
    made.write_users()
    server = redis_server.start_secured(
        made.folder / "redis",
        made.environment,
        log=made.folder / "redis.log",
        ports=made.ports,
        security=redis_server.RedisSecurity(issue("redis"), made.authority.ca, made.folder / "users.acl"),
    )
    made.redis = server.address
    made.servers += [server.process] if server.process is not None else []
    as_setup = variables("NERV_KAFKA__", made.kafka_as(f"{MESH}-setup"))
    made.run("topics", "create", "--app", APP, environment=as_setup)


def _services(made: Standing) -> None:
    made.paths.clear_logs()
    keys = made.folder / "jwks.json"
    keys.write_bytes(jwks("k1", "r1"))
    wanted = Wanted(MESH, APP)
    plans = plan_services(wanted, made.ports.take)
    doors = {"NERV_AUTH__JWKS_FILE": str(keys), "NERV_AUTH__ISSUER": ISSUER, "NERV_AUTH__AUDIENCE": AUDIENCE}
    shared = mesh_environment(wanted, plans, {**made.environment, **doors}, kafka=made.kafka, redis=made.redis)
    found = []
    for plan in plans:
        speaks = made.folder / f"{plan.service}.token"
        speaks.write_text(token(SCOPES[plan.service], "r1", sub=plan.service, exp=_tomorrow()))
        own = made.environment_of(f"{MESH}-{plan.service}") | {"NERV_CLIENT__TOKEN_FILE": str(speaks)}
        found.append(Service(plan, made.paths, shared | own))
    made.services = Services(found)


def _tomorrow() -> int:
    return int(time.time()) + 86_400
