# SPDX-License-Identifier: Apache-2.0
"""The keys that sign JWTs: a JSON Web Key Set (RFC 7517) from a file or from a URL."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import jwt
import structlog

from nerv.errors import Unauthenticated, Unavailable
from nerv.service.auth.files import Watched

log = structlog.get_logger(__name__)

FRESH_SECONDS = 300.0  # keys are fetched again after this; one that is withdrawn holds no longer
AGAIN_SECONDS = 5.0  # between two fetches at least, whatever keys tokens name
STALE_SECONDS = 3600.0  # how long known keys hold while they cannot be fetched: the issuer may be away for a while
FETCH_SECONDS = 5.0

Keys = Mapping[str, jwt.PyJWK]


class KeySource(Protocol):
    """Who knows the keys by their ids."""

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key of this id. Raises Unauthenticated where there is none, Unavailable where that cannot be known now."""
        ...


class FileKeys:
    """Keys from a file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        """Raises Misconfigured."""
        self._file = Watched("NERV_AUTH__JWKS_FILE", path, _parse, 'a JSON Web Key Set: {"keys": [{"kid", ...}]}')

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key of this id."""
        return _known(self._file.value(), kid)


class UrlKeys:
    """Keys from a URL, fetched when they are first needed, when they are old, and when a token names one that is not known."""

    def __init__(self, url: str) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_SECONDS)
        self._keys: Keys = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key of this id."""
        if not self._holds(kid):
            async with self._fetching:
                if not self._holds(kid) and time.monotonic() - self._tried >= AGAIN_SECONDS:
                    await self._fetch()
        if time.monotonic() - self._fetched > STALE_SECONDS or (kid not in self._keys and self._fetched < self._tried):
            raise Unavailable("the keys that sign tokens cannot be fetched now", retry_after=AGAIN_SECONDS)
        return _known(self._keys, kid)

    def _holds(self, kid: str) -> bool:
        return kid in self._keys and time.monotonic() - self._fetched < FRESH_SECONDS

    async def _fetch(self) -> None:
        self._tried = time.monotonic()
        try:
            found = await asyncio.to_thread(self._client.get_jwk_set, refresh=True)
        except (jwt.PyJWTError, ValueError) as error:
            log.warning("auth.keys", detail=str(error))
            return
        self._keys = _by_id(found)
        self._fetched = self._tried = time.monotonic()


def _parse(text: bytes) -> Keys:
    try:
        return _by_id(jwt.PyJWKSet.from_json(text.decode()))
    except jwt.PyJWTError as error:
        raise ValueError from error


def _by_id(keys: jwt.PyJWKSet) -> Keys:
    # Symmetric keys do not belong into a public set; RFC 7517 leaves out `use` where a key is for anything.
    return {
        key.key_id: key
        for key in keys.keys
        if key.key_id and key.key_type != "oct" and key.public_key_use in ("sig", None)
    }


def _known(keys: Keys, kid: str) -> jwt.PyJWK:
    if kid not in keys:
        raise Unauthenticated("the token does not hold: its key is none of the issuer's")
    return keys[kid]
