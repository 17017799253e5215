# SPDX-License-Identifier: Apache-2.0
"""The other services of the mesh, as a service calls them."""

from nerv.client import Client
from nerv.errors import Misconfigured
from nerv.service.settings import ServiceSettings


def client_of(settings: ServiceSettings) -> Client:
    """A client with the URLs and the token that the settings name. Raises Misconfigured for a token that cannot be read."""
    path = settings.client.token_file
    try:
        token = path.read_text(encoding="utf-8").strip() if path is not None else None
    except OSError as error:
        raise Misconfigured(f"NERV_CLIENT__TOKEN_FILE={path}: {error.strerror}") from error
    return Client(settings.services.model_dump(exclude_none=True), token=token)
