# SPDX-License-Identifier: Apache-2.0
"""The other services of the mesh, as a service calls them."""

from collections.abc import Callable

from nerv.client import Client
from nerv.service.auth.files import Watched
from nerv.service.settings import ServiceSettings


def client_of(settings: ServiceSettings) -> Client:
    """A client with the URLs and the token that the settings name; the token is read again when its file changes.

    Raises Misconfigured for a token that cannot be read.
    """
    return Client(settings.services.model_dump(exclude_none=True), token=token_of(settings))


def token_of(settings: ServiceSettings) -> Callable[[], str] | None:
    """The token by which the service speaks for itself, as its file says it now. Raises Misconfigured."""
    path = settings.client.token_file
    return None if path is None else Watched("NERV_CLIENT__TOKEN_FILE", path, _token, "a file that holds a token").value


def _token(text: bytes) -> str:
    token = text.decode("ascii").strip()
    if not token or not token.isprintable():
        raise ValueError("no token")
    return token
