# SPDX-License-Identifier: Apache-2.0
"""Who asks: the one notion of it, at a service's door and inside of a process."""

from dataclasses import dataclass

from nerv.errors import Forbidden

ALL = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may.

    A scope is `<thing>:<verb>` such as `streams:append`, and holds for every thing of the kind; `<thing>:<verb>:<name>` holds
    for the one of this name, or for those whose names begin so where it ends with `*`. `<thing>:*` is every verb, `*` is all.
    """

    subject: str
    tenant: str
    scopes: frozenset[str]

    def may(self, scope: str, name: str | None = None) -> bool:
        """Whether a scope `<thing>:<verb>` is held for the thing of this name; without a name, for all of them."""
        scopes = self.scopes
        if ALL in scopes or scope in scopes:
            return True
        every = f"{scope.partition(':')[0]}:*"
        if every in scopes:
            return True
        return name is not None and any(_fits(held, (scope, every), name) for held in scopes)

    def may_some(self, scope: str) -> bool:
        """Whether the scope is held for at least one thing."""
        return self.may(scope) or any(
            held.startswith((f"{scope}:", f"{scope.partition(':')[0]}:*:")) for held in self.scopes
        )

    def require(self, scope: str, name: str | None = None) -> None:
        """Raises Forbidden, naming the scope that is missing."""
        if not self.may(scope, name):
            wanted = scope if name is None else f"{scope}:{name}"
            raise Forbidden(f"{self.subject} lacks the scope {wanted}; ask for a token that has it")

    def require_some(self, scope: str) -> None:
        """The same where the scope for one thing is enough. Who is let in so is shown that thing alone."""
        if not self.may_some(scope):
            raise Forbidden(f"{self.subject} lacks the scope {scope}; ask for a token that has it")


def _fits(held: str, scopes: tuple[str, ...], name: str) -> bool:
    for scope in scopes:
        if held.startswith(f"{scope}:"):
            pattern = held[len(scope) + 1 :]
            return name.startswith(pattern[:-1]) if pattern.endswith(ALL) else name == pattern
    return False


ANYONE = Principal("anonymous", "default", frozenset({ALL}))
