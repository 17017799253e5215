# SPDX-License-Identifier: Apache-2.0
"""The chassis of all five services: settings, doors, health, life cycle. Written once."""

from nerv.service.auth import Authenticator
from nerv.service.health import Health
from nerv.service.routes import JSON, Request, Route, respond
from nerv.service.run import Service, run
from nerv.service.settings import ServiceSettings

__all__ = ["JSON", "Authenticator", "Health", "Request", "Route", "Service", "ServiceSettings", "respond", "run"]
