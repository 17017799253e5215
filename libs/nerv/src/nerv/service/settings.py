# SPDX-License-Identifier: Apache-2.0
"""Settings that every service has: environment variables `NERV_*`, nested by `__`; secrets are named by file."""

import os
import socket
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from nerv.errors import Misconfigured
from nerv.kafka.settings import KafkaSettings
from nerv.limits import Limits
from nerv.redis import RedisSettings
from nerv.service.auth.settings import AuthSettings
from nerv.telemetry.spans.bounds import SpanSettings
from nerv.topics import DEFAULT_PARTITIONS

Port = Annotated[int, Field(ge=0, le=65535)]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[^/*\s]+$")]


class HttpSettings(BaseModel):
    """The API's door. `advertise` is the URL under which other replicas reach this one."""

    host: str = "127.0.0.1"
    port: Port = 8080
    advertise: str | None = None
    cors_origins: tuple[Origin, ...] = ()  # whose pages may call the API from a browser; none by default

    @property
    def url(self) -> str:
        """The advertised URL, or the one made of host and port."""
        return self.advertise or f"http://{self.host}:{self.port}"


class HealthSettings(BaseModel):
    """Health and metrics have a port of their own."""

    host: str = "127.0.0.1"
    port: Port = 9090


class ServiceUrls(BaseModel):
    """Base URLs of the services, for those that call another."""

    broker: str | None = None
    temporal: str | None = None
    projector: str | None = None
    sync: str | None = None
    scheduler: str | None = None


class ClientSettings(BaseModel):
    """How this service authenticates with others."""

    token_file: Path | None = None


class ServiceSettings(BaseSettings):
    """Base class of each service's settings."""

    model_config = SettingsConfigDict(env_prefix="NERV_", env_nested_delimiter="__", extra="ignore", frozen=True)

    mesh: str = Field(default="nerv", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    app: str | None = None
    instance: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", pattern=r"^[!-~]{1,200}$")
    partitions: int = Field(default=DEFAULT_PARTITIONS, ge=1, le=1000)
    log_level: str = "INFO"
    insecure_dev: bool = False
    data_dir: Path | None = None
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    http: HttpSettings = HttpSettings()
    health: HealthSettings = HealthSettings()
    auth: AuthSettings = AuthSettings()
    services: ServiceUrls = ServiceUrls()
    client: ClientSettings = ClientSettings()
    limits: Limits = Limits()
    spans: SpanSettings = SpanSettings()

    @classmethod
    def load(cls) -> "ServiceSettings":
        """Read the environment. Raises Misconfigured, naming each variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            faults = [
                f"NERV_{'__'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False)
            ]
            raise Misconfigured("; ".join(faults)) from None
