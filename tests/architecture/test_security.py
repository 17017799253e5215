# SPDX-License-Identifier: Apache-2.0
"""The page about security says what the doors do."""

import importlib
import re
from pathlib import Path

from nerv.dev.certificates import Authority
from nerv.dev.kafka import KafkaSecurity
from nerv.dev.redis import RedisSecurity
from nerv.limits import Limits
from nerv.service.auth import AuthSettings
from tests.integration.secured.standing import SCOPES

PAGE = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text(encoding="utf-8")
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")


def test_every_scope_is_told() -> None:
    """The table has the scopes of all routes, and no others."""
    routes = [route for name in SERVICES for route in importlib.import_module(f"nerv_{name}.handlers").ROUTES]
    table = PAGE.partition("| scope | may |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z]+:[a-z]+)`", table)) == {route.scope for route in routes}


def test_every_setting_is_told() -> None:
    """Of authentication and of limits."""
    for name in AuthSettings.model_fields:
        assert f"NERV_AUTH__{name.upper()}" in PAGE
    for name in Limits.model_fields:
        assert f"NERV_LIMITS__{name.upper()}" in PAGE


def test_servers_are_told_what_the_page_tells(tmp_path: Path) -> None:
    """Every property of Kafka and every option of Redis that concerns security, as the servers of `tests/integration/secured`."""
    authority = Authority(tmp_path)
    kafka = KafkaSecurity(authority.issue("kafka"), authority.issue("administrator"), authority.ca)
    told = kafka.properties(9092, 9094, 9093).splitlines()
    [block] = re.findall(r"```properties\n(.*?)```", PAGE, re.S)
    assert [line for line in block.splitlines() if line not in told] == []
    redis = RedisSecurity(authority.issue("redis"), authority.ca, tmp_path / "users.acl")
    assert [option for option in redis.options() if f"{option} " not in PAGE] == []


def test_tokens_of_services_may_what_the_page_tells() -> None:
    """Those with which `tests/integration/secured` runs: each scope is in the row of its service."""
    table = PAGE.partition("| token of | scopes |")[2].partition("\n\n")[0]
    rows = {
        line.split("|")[1].strip(): set(re.findall(r"[a-z]+:[a-z]+", line))
        for line in table.splitlines()
        if "`" in line
    }
    assert rows == {service: set(scopes.split()) for service, scopes in SCOPES.items() if scopes}
