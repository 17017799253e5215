# SPDX-License-Identifier: Apache-2.0
"""The one authentication seam. Deny by default: without settings a service refuses to start (rules 20 and 21)."""

import asyncio
import hmac

import jwt
import orjson
from pydantic import BaseModel, ValidationError

from nerv.errors import Misconfigured, Unauthenticated, Unavailable
from nerv.service.settings import AuthSettings
from nerv.types import ANYONE, Description, Principal


class _StaticToken(BaseModel):
    token: str
    subject: str
    tenant: str = "default"
    scopes: list[str]


class Authenticator:
    """Turns an Authorization header into a Principal."""

    def __init__(self, settings: AuthSettings, *, insecure: bool) -> None:
        """Raises Misconfigured when there is nothing to check a token against and `insecure` is not set."""
        self._insecure = insecure
        self._settings = settings
        self._static = _read_tokens(settings)
        self._jwks = jwt.PyJWKClient(settings.jwks_url, timeout=5) if settings.jwks_url else None
        if insecure:
            return
        if not self._static and self._jwks is None:
            raise Misconfigured(
                "no authentication: set NERV_AUTH__TOKENS_FILE or NERV_AUTH__JWKS_URL "
                "(or NERV_INSECURE_DEV=1 on a developer's machine)"
            )
        if self._jwks is not None and not (settings.issuer and settings.audience):
            raise Misconfigured("NERV_AUTH__JWKS_URL needs NERV_AUTH__ISSUER and NERV_AUTH__AUDIENCE beside it")

    async def principal(self, authorization: str | None) -> Principal:
        """Who this is. Raises Unauthenticated, or Unavailable when the keys cannot be fetched."""
        if self._insecure:
            return ANYONE
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send Authorization: Bearer <token>")
        for known in self._static:
            if hmac.compare_digest(known.token.encode(), token.encode()):
                return Principal(known.subject, known.tenant, frozenset(known.scopes))
        if self._jwks is None:
            raise Unauthenticated("this token is not known here")
        return await asyncio.to_thread(self._verify, self._jwks, token)

    def describe(self) -> Description:
        """The authenticator as data: by what it knows people, and nothing of what it knows."""
        ways = (("tokens", bool(self._static)), ("jwt", self._jwks is not None), ("nobody is asked", self._insecure))
        return Description("Authenticator", "authentication", inputs=tuple(name for name, used in ways if used))

    def _verify(self, jwks: jwt.PyJWKClient, token: str) -> Principal:
        try:
            key = jwks.get_signing_key_from_jwt(token)
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError:
            raise Unavailable("the keys that sign tokens cannot be fetched now", retry_after=5.0) from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token does not hold: {error}") from None
        scopes = claims.get("scope", "")
        return Principal(str(claims["sub"]), str(claims.get("tenant", "default")), frozenset(str(scopes).split()))


def _read_tokens(settings: AuthSettings) -> list[_StaticToken]:
    if settings.tokens_file is None:
        return []
    try:
        documents = orjson.loads(settings.tokens_file.read_bytes())
        return [_StaticToken.model_validate(document) for document in documents]
    except (OSError, TypeError, ValueError, ValidationError):
        # The text of the error could hold a token, so it is not passed on.
        raise Misconfigured(
            f"NERV_AUTH__TOKENS_FILE ({settings.tokens_file}) must be a JSON array of "
            '{"token", "subject", "scopes": [...]}'
        ) from None
