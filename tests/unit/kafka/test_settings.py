# SPDX-License-Identifier: Apache-2.0
"""How a service reaches its Kafka."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from nerv.errors import Misconfigured
from nerv.kafka.settings import KafkaSettings


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        ({"security_protocol": "SASL_SSL"}, "SASL_USERNAME and SASL_PASSWORD_FILE"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "nerv-broker"}, "SASL_USERNAME and SASL_PASSWORD_FILE"),
        ({"ssl_ca_file": "/x"}, "would not be used"),
        ({"security_protocol": "SSL", "ssl_key_file": "/x"}, "go together"),
    ],
)
def test_what_goes_together_is_given_together(settings: dict[str, str], lacks: str) -> None:
    """Nothing that is set is passed over in silence."""
    with pytest.raises(ValidationError, match=lacks):
        KafkaSettings.model_validate(settings)


def test_a_client_has_the_secrets_of_its_files(tmp_path: Path) -> None:
    """The password, without the end of its line, and the paths of certificates."""
    password = tmp_path / "password"
    password.write_text("secret\n", encoding="utf-8")
    settings = KafkaSettings(
        security_protocol="SASL_SSL", sasl_username="nerv-broker", sasl_password_file=password, ssl_ca_file=Path("/ca")
    )
    config = settings.client("test")
    assert config["sasl.password"] == "secret"
    assert config["ssl.ca.location"] == "/ca"
    password.unlink()
    with pytest.raises(Misconfigured, match="cannot read NERV_KAFKA__SASL_PASSWORD_FILE"):
        settings.client("test")
