# SPDX-License-Identifier: Apache-2.0
"""The one authentication seam. Deny by default: without settings a service refuses to start (rules 20 and 21)."""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import orjson
from pydantic import BaseModel, TypeAdapter

from nerv.errors import Misconfigured, Unauthenticated
from nerv.service.auth.files import Watched
from nerv.service.auth.keys import FileKeys, KeySource, UrlKeys
from nerv.service.auth.settings import AuthSettings, Grant, Scope
from nerv.types import ANYONE, Description, Principal

LEEWAY_SECONDS = 10  # that the clocks of issuer and service may differ
REMEMBERED_SECONDS = 60.0  # a token that held is not checked again for so long, or until it ends
REMEMBERED = 4096  # such tokens


class _StaticToken(BaseModel):
    token: str
    subject: str
    tenant: str = "default"
    scopes: list[Scope]


class Authenticator:
    """Turns an Authorization header into a Principal."""

    def __init__(self, settings: AuthSettings, *, insecure: bool) -> None:
        """Raises Misconfigured when there is nothing to check a token against and `insecure` is not set."""
        self._insecure = insecure
        self._settings = settings
        self._static = _static(settings)
        self._keys = _key_source(settings)
        self._grants = _grants(settings)
        self._remembered: dict[bytes, tuple[Principal, float]] = {}
        if not insecure and self._static is None and self._keys is None:
            raise Misconfigured(
                "no authentication: set NERV_AUTH__TOKENS_FILE, NERV_AUTH__JWKS_URL or NERV_AUTH__JWKS_FILE "
                "(or NERV_INSECURE_DEV=1 on a developer's machine)"
            )

    async def principal(self, authorization: str | None) -> Principal:
        """Who this is. Raises Unauthenticated, or Unavailable when the keys cannot be fetched."""
        if self._insecure:
            return ANYONE
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send Authorization: Bearer <token>")
        # By its digest, so that the time of a look-up tells nothing of the tokens that there are.
        digest = hashlib.sha256(token.encode()).digest()
        if self._static is not None and (known := self._static.value().get(digest)) is not None:
            return known
        if self._keys is None:
            raise Unauthenticated("this token is not known here")
        found, until = self._remembered.get(digest, (ANYONE, float("-inf")))
        if time.time() < until:
            return found
        return await self._check(self._keys, token, digest)

    def describe(self) -> Description:
        """The authenticator as data: by what it knows people, and nothing of what it knows."""
        ways = (
            ("tokens", self._static is not None),
            ("jwt", self._keys is not None),
            ("nobody is asked", self._insecure),
        )
        return Description("Authenticator", "authentication", inputs=tuple(name for name, used in ways if used))

    async def _check(self, keys: KeySource, token: str, digest: bytes) -> Principal:
        try:
            key = await keys.key(str(jwt.get_unverified_header(token).get("kid")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token does not hold: {error}") from None
        found = self._named(claims)
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = (found, min(float(claims["exp"]), time.time() + REMEMBERED_SECONDS))
        return found

    def _named(self, claims: Mapping[str, Any]) -> Principal:
        subject, roles = str(claims["sub"]), _words(claims.get(self._settings.roles_claim))
        scopes = _words(claims.get("scope")) | _words(claims.get("scp"))
        return Principal(
            subject, str(claims.get("tenant", "default")), scopes | _granted(self._grants(), subject, roles)
        )


def _words(claim: Any) -> frozenset[str]:
    """Issuers write several words as one text with blanks, or as a list."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    return frozenset(word for word in claim if isinstance(word, str)) if isinstance(claim, list) else frozenset()


def _granted(grants: tuple[Grant, ...], subject: str, roles: frozenset[str]) -> frozenset[str]:
    return frozenset(scope for grant in grants if grant.covers(subject, roles) for scope in grant.scopes)


def _static(settings: AuthSettings) -> Watched[dict[bytes, Principal]] | None:
    if settings.tokens_file is None:
        return None

    def parse(text: bytes) -> dict[bytes, Principal]:
        tokens = TypeAdapter(list[_StaticToken]).validate_python(orjson.loads(text))
        return {
            hashlib.sha256(one.token.encode()).digest(): Principal(one.subject, one.tenant, frozenset(one.scopes))
            for one in tokens
        }

    form = 'a JSON array of {"token", "subject", "scopes": ["<thing>:<verb>[:<name>]", ...]}'
    return Watched("NERV_AUTH__TOKENS_FILE", settings.tokens_file, parse, form)


def _key_source(settings: AuthSettings) -> KeySource | None:
    if settings.jwks_url is None and settings.jwks_file is None:
        return None
    if settings.jwks_url is not None and settings.jwks_file is not None:
        raise Misconfigured("NERV_AUTH__JWKS_URL and NERV_AUTH__JWKS_FILE are both set; keys come from one place")
    if not (settings.issuer and settings.audience):
        raise Misconfigured("a JWKS needs NERV_AUTH__ISSUER and NERV_AUTH__AUDIENCE beside it")
    if settings.jwks_file is not None:
        return FileKeys(settings.jwks_file)
    try:
        return UrlKeys(settings.jwks_url or "")
    except jwt.PyJWKClientError as error:
        raise Misconfigured(f"NERV_AUTH__JWKS_URL: {error}") from None


def _grants(settings: AuthSettings) -> Callable[[], tuple[Grant, ...]]:
    if settings.grants_file is None:
        return lambda: settings.grants

    def parse(text: bytes) -> tuple[Grant, ...]:
        return (*settings.grants, *TypeAdapter(list[Grant]).validate_python(orjson.loads(text)))

    form = 'a JSON array of {"subject" or "role", "scopes": ["<thing>:<verb>[:<name>]", ...]}'
    return Watched("NERV_AUTH__GRANTS_FILE", settings.grants_file, parse, form).value
