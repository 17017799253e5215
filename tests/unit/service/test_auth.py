# SPDX-License-Identifier: Apache-2.0
"""Keys, tokens and grants while a service runs: exchanged, withdrawn, unreachable."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from nerv.errors import Forbidden, Misconfigured, Unauthenticated, Unavailable
from nerv.service.auth import Authenticator, AuthSettings, authenticator, files, keys
from nerv.service.peers import client_of
from nerv.service.settings import ClientSettings, ServiceSettings, ServiceUrls
from nerv.types import Principal
from tests.unit.service.issuing import AUDIENCE, ISSUER, jwks, settings, token


def held(*scopes: str) -> Principal:
    """Somebody who holds these."""
    return Principal("ann", "default", frozenset(scopes))


@pytest.mark.parametrize(
    ("scope", "name", "passes"),
    [
        ("*", None, True),
        ("topics:read", None, True),
        ("topics:read", "flights.flight.v1", True),
        ("topics:*", "flights.flight.v1", True),
        ("topics:read:flights.*", "flights.flight.v1", True),
        ("topics:read:flights.flight.v1", "flights.flight.v1", True),
        ("topics:*:flights.*", "flights.flight.v1", True),
        ("topics:read:flights.*", None, False),
        ("topics:read:flights.", "flights.flight.v1", False),
        ("topics:read:hotels.*", "flights.flight.v1", False),
        ("topics:publish", "flights.flight.v1", False),
        ("topics:readers", "flights.flight.v1", False),
        ("topics", "flights.flight.v1", False),
        ("", "flights.flight.v1", False),
    ],
)
def test_a_scope_holds_for_what_it_names(scope: str, name: str | None, passes: bool) -> None:
    """For all things of a kind, one of them, or those whose names begin so; one for some is not one for all."""
    assert held(scope).may("topics:read", name) is passes
    if passes:
        held(scope).require("topics:read", name)
        assert held(scope).may_some("topics:read")
    else:
        with pytest.raises(Forbidden, match="topics:read"):
            held(scope).require("topics:read", name)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at and keys fetched whenever they are needed, and no verdict is remembered."""
    monkeypatch.setattr(files, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(keys, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(authenticator, "REMEMBERED_SECONDS", 0.0)


def rewrite(path: Path, text: bytes) -> None:
    """As a Secret is exchanged: another file under the name."""
    other = path.with_suffix(".new")
    other.write_bytes(text)
    other.replace(path)


async def test_keys_of_a_file_are_exchanged_under_a_running_service(tmp_path: Path, at_once: None) -> None:
    """A new key holds, the withdrawn one no longer does; a file that says nonsense changes nothing."""
    found = settings(tmp_path, "k1")
    assert found.jwks_file is not None
    door = Authenticator(found, insecure=False)
    assert (await door.principal(f"Bearer {token('a:b')}")).subject == "ann"
    rewrite(found.jwks_file, jwks("k2"))
    assert (await door.principal(f"Bearer {token('a:b', 'k2')}")).subject == "ann"
    with pytest.raises(Unauthenticated):
        await door.principal(f"Bearer {token('a:b', 'k1')}")
    rewrite(found.jwks_file, b"{")
    assert (await door.principal(f"Bearer {token('a:b', 'k2')}")).subject == "ann"


class Issuer:
    """Serves keys, counts who fetches them, and may be away."""

    def __init__(self) -> None:
        self.kids: tuple[str, ...] = ("k1",)
        self.fetched = 0
        self.away = False
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """The keys."""
        self.fetched += 1
        if self.away:
            return web.Response(status=500)
        return web.Response(body=jwks(*self.kids), content_type="application/json")

    def settings(self) -> AuthSettings:
        """Settings that name it."""
        return AuthSettings(jwks_url=self.url, issuer=ISSUER, audience=AUDIENCE)


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """One that answers."""
    found = Issuer()
    server = web.Application()
    server.router.add_get("/jwks", found.answer)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield found
    await runner.cleanup()


async def test_keys_of_a_url_are_fetched_once_and_again_for_a_new_key(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many requests at once fetch once; tokens that name unknown keys do not make the service fetch as often as they come."""
    door = Authenticator(issuer.settings(), insecure=False)
    await asyncio.gather(*(door.principal(f"Bearer {token(f'a:b{n}')}") for n in range(20)))
    assert issuer.fetched == 1
    for kid in ("x1", "x2", "x3"):
        with pytest.raises(Unauthenticated):
            await door.principal(f"Bearer {token('a:b', kid)}")
    assert issuer.fetched == 1
    issuer.kids = ("k1", "k2")
    monkeypatch.setattr(keys, "AGAIN_SECONDS", 0.0)
    assert (await door.principal(f"Bearer {token('a:b', 'k2')}")).subject == "ann"
    assert issuer.fetched == 2


async def test_an_issuer_that_is_away_stops_nobody_who_is_known(
    issuer: Issuer, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known keys hold for an hour more; a key that is not known is "later", not "no"; after the hour nothing holds."""
    door = Authenticator(issuer.settings(), insecure=False)
    await door.principal(f"Bearer {token('a:b')}")
    issuer.away = True
    monkeypatch.setattr(keys, "FRESH_SECONDS", 0.0)
    assert (await door.principal(f"Bearer {token('a:b', sub='bob')}")).subject == "bob"
    with pytest.raises(Unavailable):
        await door.principal(f"Bearer {token('a:b', 'k2')}")
    monkeypatch.setattr(keys, "STALE_SECONDS", 0.0)
    with pytest.raises(Unavailable):
        await door.principal(f"Bearer {token('a:b')}")


async def test_static_tokens_are_exchanged_under_a_running_service(tmp_path: Path, at_once: None) -> None:
    """The new one holds, the old one does not."""
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([{"token": "old", "subject": "ann", "scopes": ["topics:read"]}]))
    door = Authenticator(AuthSettings(tokens_file=path), insecure=False)
    assert (await door.principal("Bearer old")).subject == "ann"
    rewrite(path, json.dumps([{"token": "new", "subject": "ann", "scopes": ["topics:read"]}]).encode())
    assert (await door.principal("Bearer new")).subject == "ann"
    with pytest.raises(Unauthenticated):
        await door.principal("Bearer old")


async def test_a_verdict_is_remembered_no_longer_than_the_token_lives(tmp_path: Path) -> None:
    """A token that ends within the minute for which verdicts are remembered is refused when it has ended."""
    door = Authenticator(settings(tmp_path), insecure=False)
    ended = token("a:b", exp=int(time.time()) - 5)  # within the leeway: it holds, and is not remembered
    assert (await door.principal(f"Bearer {ended}")).subject == "ann"
    assert not [until for _, until in door._remembered.values() if until > time.time()]


async def test_grants_add_to_what_a_token_has(tmp_path: Path) -> None:
    """By subject and by role, from settings and from a file."""
    path = tmp_path / "grants.json"
    path.write_text(json.dumps([{"role": "ops", "scopes": ["topics:admin"]}]))
    grants = [{"subject": "billing-*", "scopes": ["topics:publish:billing.*"]}]
    door = Authenticator(settings(tmp_path, grants=grants, grants_file=path), insecure=False)
    billing = await door.principal(f"Bearer {token('topics:read', sub='billing-7')}")
    assert billing.scopes == {"topics:read", "topics:publish:billing.*"}
    operator = await door.principal(f"Bearer {token('', roles=['ops'])}")
    assert operator.scopes == {"topics:admin"}
    assert (await door.principal(f"Bearer {token('', scp=['topics:read'])}")).scopes == {"topics:read"}


@pytest.mark.parametrize(
    ("document", "variable"),
    [
        ({"tokens_file": [{"token": "t", "subject": "s", "scopes": ["everything"]}]}, "NERV_AUTH__TOKENS_FILE"),
        ({"grants_file": [{"scopes": ["topics:read"]}]}, "NERV_AUTH__GRANTS_FILE"),
        ({"jwks_file": {"keys": []}}, "NERV_AUTH__JWKS_FILE"),
    ],
)
def test_a_file_that_says_nonsense_is_named_at_the_start(
    tmp_path: Path, document: dict[str, object], variable: str
) -> None:
    """With its variable and the form that is wanted."""
    [(name, content)] = document.items()
    path = tmp_path / "found.json"
    path.write_text(json.dumps(content))
    good = tmp_path / "tokens.json"
    good.write_text("[]")
    found = {"tokens_file": good} | {name: path}
    with pytest.raises(Misconfigured, match=variable):
        Authenticator(AuthSettings.model_validate({"issuer": ISSUER, "audience": AUDIENCE} | found), insecure=False)


def test_shared_secrets_cannot_be_configured() -> None:
    """Whoever can check such a signature can make one."""
    for algorithm in ("HS256", "none"):
        with pytest.raises(ValueError, match="algorithms"):
            AuthSettings.model_validate({"algorithms": [algorithm]})


async def test_the_token_of_a_service_is_exchanged_under_it(tmp_path: Path, at_once: None) -> None:
    """What it calls others with is what the file says now, as Kubernetes renews it; without a token it does not start."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers["authorization"])
        return web.json_response({})

    server = web.Application()
    server.router.add_get("/.well-known/nerv", answer)
    runner = web.AppRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    path = tmp_path / "token"
    path.write_text("first\n")
    urls = ServiceUrls(broker=f"http://127.0.0.1:{runner.addresses[0][1]}")
    named = ServiceSettings(services=urls, client=ClientSettings(token_file=path))
    async with client_of(named) as client:
        await client.about("broker")
        rewrite(path, b"second")
        await client.about("broker")
    await runner.cleanup()
    assert seen == ["Bearer first", "Bearer second"]
    path.write_text("")
    with pytest.raises(Misconfigured, match="NERV_CLIENT__TOKEN_FILE"):
        client_of(named)
