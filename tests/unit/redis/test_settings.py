# SPDX-License-Identifier: Apache-2.0
"""How a service reaches its Redis."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from redis import AuthenticationError
from redis.asyncio import SSLConnection
from redis.exceptions import NoPermissionError, ResponseError

from nerv.errors import Misconfigured
from nerv.redis import RedisSettings, connect, mapped
from nerv.redis.connection import FileCredentials
from nerv.service import ServiceSettings


@pytest.mark.parametrize("part", ["ca", "certificate", "key"])
def test_certificates_need_a_url_with_tls(part: str) -> None:
    """They would be passed over in silence, and the password go over the wire for all to read."""
    with pytest.raises(ValidationError, match="rediss://"):
        RedisSettings.model_validate({"url": "redis://r:6379/0", f"ssl_{part}_file": "/x"})


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        ({"ssl_certificate_file": "/x"}, "go together"),
        ({"ssl_key_file": "/x"}, "go together"),
        ({"username": "nerv-broker"}, "PASSWORD_FILE"),
    ],
)
def test_what_goes_together_is_given_together(settings: dict[str, str], lacks: str) -> None:
    """A certificate without its key, and a name without its password, are refused at the start."""
    with pytest.raises(ValidationError, match=lacks):
        RedisSettings.model_validate({"url": "rediss://r:6379/0"} | settings)


def test_a_service_names_the_variable_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only what is wrong with it."""
    monkeypatch.setenv("NERV_REDIS__SSL_CA_FILE", "/x")
    with pytest.raises(Misconfigured, match=r"NERV_REDIS: .*SSL_CA_FILE would not be used"):
        ServiceSettings.load()


async def test_a_client_has_the_certificates_of_its_settings() -> None:
    """That of the CA, and its own."""
    settings = RedisSettings(
        url="rediss://r:6379/0", ssl_ca_file=Path("/ca"), ssl_certificate_file=Path("/crt"), ssl_key_file=Path("/key")
    )
    client = connect(settings, "test")
    options = client.connection_pool.connection_kwargs
    assert (options["ssl_ca_certs"], options["ssl_certfile"], options["ssl_keyfile"]) == ("/ca", "/crt", "/key")
    assert issubclass(client.connection_pool.connection_class, SSLConnection)
    await client.aclose()


def test_a_password_is_read_for_each_connection(tmp_path: Path) -> None:
    """So that it is exchanged under services that run."""
    file = tmp_path / "password"
    credentials = FileCredentials("nerv-broker", file)
    for password in ("one", "two"):
        file.write_text(f"{password}\n", encoding="utf-8")
        assert credentials.get_credentials() == ("nerv-broker", password)
    file.unlink()
    with pytest.raises(AuthenticationError, match="cannot read"):
        credentials.get_credentials()


@pytest.mark.parametrize(
    "error",
    [
        NoPermissionError("this user has no permissions to access one of the keys used as arguments"),
        ResponseError("ERR ACL failure in script: User nerv-broker has no permissions to run the 'hset' command"),
    ],
)
def test_a_right_that_lacks_is_named(error: ResponseError) -> None:
    """With the name of the script, what Redis says, and the next step."""
    with pytest.raises(Misconfigured, match=r"lacks a right \(apply\): .*no permissions.*nerv acls"), mapped("apply"):
        raise error
