# SPDX-License-Identifier: Apache-2.0
"""Who asks: the one notion of it, at a service's door and inside of a process."""

from dataclasses import dataclass

from nerv.errors import Forbidden

ALL = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `scopes` are `<thing>:<verb>` such as `streams:append`; `*` holds all."""

    subject: str
    tenant: str
    scopes: frozenset[str]

    def require(self, scope: str) -> None:
        """Raises Forbidden, naming the scope that is missing."""
        if ALL not in self.scopes and scope not in self.scopes:
            raise Forbidden(f"{self.subject} lacks the scope {scope}; ask for a token that has it")


ANYONE = Principal("anonymous", "default", frozenset({ALL}))
