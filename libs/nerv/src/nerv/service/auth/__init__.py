# SPDX-License-Identifier: Apache-2.0
"""Who asks, and what they may: static tokens, JWTs, and grants beside a token's own scopes."""

from nerv.service.auth.authenticator import Authenticator
from nerv.service.auth.settings import AuthSettings

__all__ = ["AuthSettings", "Authenticator"]
