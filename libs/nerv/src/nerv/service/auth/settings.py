# SPDX-License-Identifier: Apache-2.0
"""Settings of authentication: `NERV_AUTH__*`. Secrets are named by file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints, model_validator

from nerv.types.principal import ALL

# Signatures by a shared secret are not among them: whoever can check one can make one.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
Scope = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z-]*:(\*|[a-z][a-z-]*)(:[^\s]{1,256})?)$")]


class Grant(BaseModel):
    """Scopes for a subject or for a role, beside those that their tokens have. Either may end with `*`."""

    subject: str | None = None
    role: str | None = None
    scopes: list[Scope]

    @model_validator(mode="after")
    def _names_one(self) -> "Grant":
        if (self.subject is None) == (self.role is None):
            raise ValueError("name a subject or a role")
        return self

    def covers(self, subject: str, roles: frozenset[str]) -> bool:
        """Whether this one is meant."""
        if self.subject is not None:
            return _named(self.subject, subject)
        return any(_named(self.role or "", role) for role in roles)


def _named(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith(ALL) else name == pattern


class AuthSettings(BaseModel):
    """Bearer tokens: static ones from a file, or JWTs whose keys come from the JWKS named here and nowhere else.

    Files are read again when they change, so that tokens, keys and grants are exchanged without a restart.
    """

    tokens_file: Path | None = None
    jwks_url: str | None = None
    jwks_file: Path | None = None
    issuer: str | None = None
    audience: str | None = None
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    roles_claim: str = "roles"  # the claim of a JWT that lists the roles of its subject
    grants: tuple[Grant, ...] = ()
    grants_file: Path | None = None  # a JSON array of more of them
