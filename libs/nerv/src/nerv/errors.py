# SPDX-License-Identifier: Apache-2.0
"""Every error NERV raises on purpose. The class says whether to try again; the text says what to do next.

NervError
├── Refused                nothing happened, and the same request will be refused again
│   ├── Invalid            400  malformed: bad JSON, bad header, bad parameter
│   ├── Unauthenticated    401  no valid token
│   ├── Forbidden          403  the token lacks the scope
│   ├── NotFound           404  no such stream, topic, view, workflow, run
│   ├── Conflict           409
│   │   ├── VersionConflict     the stream is not at the expected version
│   │   ├── IdConflict          this id was used for other content
│   │   └── Rejected            the rules of the app say no; `code` says which
│   ├── Gone               410  the stream was deleted or tombstoned
│   ├── TooLarge           413  over a stated limit
│   └── SchemaMismatch     422  well formed, but not what the schema says
├── Unavailable            503  nothing happened; try again after `retry_after` seconds
│   └── Overloaded         429  the same, because a bounded queue is full
├── UnknownOutcome         504  it may have happened: repeat with the same id to learn the truth
├── Misconfigured               the service or app cannot start as it is
└── Internal               500  a fault of ours; details are in the log, not in the answer
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar


class Retry(Enum):
    """What a caller may do after an error."""

    NEVER = "never"  # the same request meets the same answer
    LATER = "later"  # nothing happened: wait, then send it again
    SAME_ID = "same-id"  # it may have happened: only a repeat with the same id is safe


class NervError(Exception):
    """Root of the tree. `detail` is for people, `errors` for programs (a list of small mappings)."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "NERV error"
    retry: ClassVar[Retry] = Retry.NEVER

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.retry_after = retry_after

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        """This error as RFC 9457 problem details (a JSON-able mapping)."""
        body: dict[str, Any] = {
            "type": f"urn:nerv:problem:{type(self).__name__}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance is not None:
            body["instance"] = instance
        if self.errors:
            body["errors"] = self.errors
        if self.retry_after is not None:  # for those who get no headers: within a stream, say
            body["retry_after"] = self.retry_after
        return body


class Refused(NervError):
    """Nothing happened, and the same request will be refused again."""

    status = 400
    title = "Refused"


class Invalid(Refused):
    """Malformed input."""

    title = "Invalid request"


class Unauthenticated(Refused):
    """No token, or one that does not hold."""

    status = 401
    title = "Authentication required"


class Forbidden(Refused):
    """The token is good, but lacks the scope."""

    status = 403
    title = "Not allowed"


class NotFound(Refused):
    """The thing named does not exist."""

    status = 404
    title = "Not found"


class Gone(Refused):
    """The stream was deleted, or tombstoned. Its history can still be read when that is asked for."""

    status = 410
    title = "Gone"


class Conflict(Refused):
    """The request contradicts what is recorded."""

    status = 409
    title = "Conflict"


class VersionConflict(Conflict):
    """The stream is not at the expected version."""

    title = "Version conflict"


class IdConflict(Conflict):
    """This id was used before, for other content."""

    title = "Id was used for other content"


class Rejected(Conflict):
    """The rules of the app do not allow it, as things stand. The first of `errors` holds the `code` of the rule."""

    title = "Rejected"

    @property
    def code(self) -> str:
        """Which rule."""
        return str(self.errors[0].get("code", "")) if self.errors else ""


class TooLarge(Refused):
    """Over a stated limit; the text names it."""

    status = 413
    title = "Too large"


class SchemaMismatch(Refused):
    """Well formed, but not what the schema of its type says."""

    status = 422
    title = "Schema mismatch"


class Unavailable(NervError):
    """Nothing happened; try again after `retry_after` seconds."""

    status = 503
    title = "Unavailable"
    retry = Retry.LATER


class Overloaded(Unavailable):
    """A bounded queue is full; nothing happened."""

    status = 429
    title = "Too many requests"


class UnknownOutcome(NervError):
    """It may or may not have happened. Repeating with the same id answers which, and does it at most once."""

    status = 504
    title = "Unknown outcome"
    retry = Retry.SAME_ID


class Misconfigured(NervError):
    """The service or app cannot start as it is; the text says what to change."""

    title = "Misconfigured"


class Internal(NervError):
    """A fault of ours."""

    title = "Internal error"


def _tree(root: type[NervError]) -> dict[str, type[NervError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_problem(problem: Mapping[str, Any], status: int, retry_after: float | None = None) -> NervError:
    """The error that a problem document stands for; a foreign one maps by its status."""
    name = str(problem.get("type", "")).rpartition(":")[2]
    detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
    errors = problem.get("errors") or ()
    kind = _tree(NervError).get(name) or _by_status(status)
    told = problem.get("retry_after")
    if retry_after is None and isinstance(told, int | float):
        retry_after = max(0.0, float(told))
    return kind(detail, errors=errors, retry_after=retry_after)


def _by_status(status: int) -> type[NervError]:
    known: dict[int, type[NervError]] = {
        401: Unauthenticated,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        410: Gone,
        413: TooLarge,
        422: SchemaMismatch,
        429: Overloaded,
        502: UnknownOutcome,
        503: Unavailable,
        504: UnknownOutcome,
    }
    if status in known:
        return known[status]
    return Refused if 400 <= status < 500 else UnknownOutcome
