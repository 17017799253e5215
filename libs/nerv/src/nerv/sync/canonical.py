# SPDX-License-Identifier: Apache-2.0
"""Rows as canonical JSON, so that equal rows are equal bytes, and `1`, `1.0`, `true` and `"1"` are not."""

from collections.abc import Mapping
from typing import Any

import orjson

NULL = b"null"


def canonical(row: Mapping[str, Any]) -> bytes:
    """A row as JSON with sorted keys. Raises TypeError for a value that JSON does not have."""
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def recanonical(data: bytes) -> bytes:
    """What another writer appended, made comparable. What is not a JSON object is `null`, which no row equals."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return NULL
    return canonical(document) if isinstance(document, dict) else NULL
