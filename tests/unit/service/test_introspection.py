# SPDX-License-Identifier: Apache-2.0
"""What replicas say of themselves, and that nothing of it is a secret."""

import importlib
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from nerv import App
from nerv.limits import Limits
from nerv.redis import RedisSettings, connect
from nerv.service import Authenticator, Health
from nerv.service.alive import Alive
from nerv.service.auth import AuthSettings
from nerv.service.describe import About, Replica
from nerv.service.http import application
from nerv.service.introspection import introspection
from nerv.service.settings import ServiceSettings
from nerv.service.shown import shown, without_login
from nerv.telemetry.traffic import Traffic
from tests.unit.service.asking import ask

SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
SECRET = "hunter2"  # noqa: S105 - what must not be told
# As it may stand in a setting: a login in an address, a signature behind it, or alone.
HIDING = (f"rediss://me:{SECRET}@redis:6379/0?password={SECRET}&sig=a@{SECRET}", f"https://x.example/a?sig={SECRET}")


def settings_of(service: str) -> type[ServiceSettings]:
    """The settings of a service."""
    module = importlib.import_module(f"nerv_{service}.settings")
    return getattr(module, f"{service.capitalize()}Settings")  # type: ignore[no-any-return]


def holding(kind: Any, text: str) -> Any:
    """A value of this type that holds a text; None for types that cannot. A path names a file, and is no secret."""
    if Path in (kind, *get_args(kind)):
        return None
    for value in (text, (text,)):
        with suppress(ValidationError):
            return TypeAdapter(kind).validate_python(value)
    return None


def marked(model: type[BaseModel], secret: str) -> BaseModel:
    """Settings with the secret in all that can hold a text, of whatever depth. Some would be refused together; unchecked they are
    the worst that there can be.
    """
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        value = marked(kind, secret) if nested else holding(kind, secret)  # type: ignore[arg-type]
        if value is not None:
            values[name] = value
    return model.model_construct(**values)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("secret", HIDING)
def test_no_setting_tells_a_secret(service: str, secret: str) -> None:
    """Neither the login nor the query of an address in any setting, whatever its place."""
    settings = marked(settings_of(service), secret)
    assert repr(settings).count(SECRET) > 15
    assert SECRET not in orjson.dumps(shown(settings)).decode()


@pytest.mark.parametrize("secret", HIDING)
def test_no_document_tells_a_secret(secret: str) -> None:
    """Neither what a replica answers nor what it writes into Redis, whatever else is made of settings."""
    names: Any = {"mesh": "m", "instance": "i-1", "app": "flights:app"}
    settings = marked(ServiceSettings, secret).model_copy(update=names)
    assert isinstance(settings, ServiceSettings)
    replica = Replica("echo", lambda: About(settings, App("shop"), ["in"], ["out"]), Health(), Traffic())
    for told in (replica.document(), replica.sign()):
        assert SECRET not in orjson.dumps(told).decode()


def test_a_file_with_a_secret_is_named_and_not_read(tmp_path: Path) -> None:
    """Whoever looks after a mesh has to know which file it is."""
    password = tmp_path / "password"
    password.write_text(SECRET)
    told = shown(RedisSettings(password_file=password))
    assert told["password_file"] == str(password)
    assert SECRET not in repr(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis://redis:6379/0", "redis://redis:6379/0"),
        ("redis://:p@ss/word@redis:6379/0", "redis://***@redis:6379/0"),
        ("redis://:p@ss?word@redis:6379/0", "redis://***"),
        ("s3://key:secret@bucket/results", "s3://***@bucket/results"),
        ("https://x.example/jwks?code=abc", "https://x.example/jwks?***"),
        ("a:9092,b:9092", "a:9092,b:9092"),
        ("flights:app", "flights:app"),
    ],
)
def test_of_an_address_the_login_and_the_query_are_hidden(text: str, told: str) -> None:
    """And the rest is shown."""
    assert without_login(text) == told


def test_a_setting_named_as_a_secret_is_hidden_whatever_it_holds() -> None:
    """Even one that somebody adds without a thought; one that names a file is not."""

    class Careless(BaseModel):
        api_key: str = SECRET
        password: str = SECRET
        token_file: str = "/etc/nerv/token"  # noqa: S105 - a path
        client_secrets: list[str] = [SECRET]

    told = shown(Careless())
    assert told == {
        "api_key": "***", "password": "***", "token_file": "/etc/nerv/token", "client_secrets": "***"
    }  # fmt: skip


def a_replica(health: Health, traffic: Traffic | None = None, **more: Any) -> Replica:
    """One of an app without anything."""
    settings = ServiceSettings(mesh="m", app="flights:app", instance="i-1")
    about = About(settings, App("shop"), ["in"], ["out"], [0, 2], {"ready": 3})
    return Replica("echo", lambda: about, health, traffic or Traffic())


async def test_a_replica_says_what_it_is() -> None:
    """At `/.well-known/nerv`: what it reads, writes, owns and hosts; health, versions, settings, and what goes through."""
    health, traffic = Health(), Traffic()
    replica = a_replica(health, traffic)
    alive = Alive(connect(RedisSettings(url="redis://127.0.0.1:1"), "test"), "m")
    app = application(introspection(replica, alive), None, Authenticator(AuthSettings(), insecure=True), Limits())
    told = (await ask(app, "GET", "/.well-known/nerv")).json
    assert (told["service"], told["mesh"], told["instance"], told["app"]) == ("echo", "m", "i-1", "shop")
    assert (told["reads"], told["writes"], told["owns"], told["figures"]) == (["in"], ["out"], [0, 2], {"ready": 3})
    assert told["health"] == {"status": "not ready", "phase": "starting", "faults": {"service": "starting"}}
    assert told["versions"]["nerv"]
    assert told["versions"]["app"]
    assert told["versions"]["packages"]["redis"]
    assert told["settings"]["kafka"]["bootstrap_servers"] == "127.0.0.1:9092"
    assert told["process"]["rss"] > 1_000_000
    health.started()
    traffic.saw("topic:in", "service:echo", 10)
    replica.look()
    told = (await ask(app, "GET", "/.well-known/nerv")).json
    assert told["health"] == {"status": "ok", "phase": "running", "faults": {}}
    assert [(way["from"], way["to"], way["count"]) for way in told["traffic"]] == [("topic:in", "service:echo", 10)]
    assert (await ask(app, "GET", "/v1/mesh")).status == 504  # Redis is away, and the service is not


def test_a_sign_of_life_is_small() -> None:
    """It says nothing that does not change."""
    sign = a_replica(Health()).sign()
    assert {"settings", "hosts"} & sign.keys() == set()
    assert len(orjson.dumps(sign)) < 2000
