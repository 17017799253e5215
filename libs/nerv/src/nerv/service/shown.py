# SPDX-License-Identifier: Apache-2.0
"""Settings as anybody may see them: what could be a secret is not shown, and a path to a secret is none."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

HIDDEN = "***"
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:/{0,2})(?P<rest>[^?#]*)(?P<query>[?#].*)?", re.DOTALL)
_SECRET = re.compile(r"(password|passwd|secret|token|credential|private|api_?key)(?!.*_(file|url)$)")


def shown(settings: BaseModel) -> dict[str, Any]:
    """All settings by their names, as JSON. Of a URL neither the login nor the query is shown."""
    found: dict[str, Any] = _shown(settings.model_dump(mode="json"))
    return found


def without_login(text: str) -> str:
    """A text without what stands before the `@` of a URL, and behind its `?`: signed addresses carry their signature there."""
    found = _URL.fullmatch(text)
    if found is None or not (found["query"] or "@" in found["rest"]):
        return text
    scheme, rest, query = found["scheme"], found["rest"], found["query"] or ""
    if "@" in query:  # which of it is a password nobody can tell
        return scheme + HIDDEN
    _, login, place = rest.rpartition("@")
    return scheme + (f"{HIDDEN}@" if login else "") + place + (query[0] + HIDDEN if query else "")


def _shown(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: HIDDEN if inner and _SECRET.search(name) else _shown(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return without_login(value) if isinstance(value, str) else value
