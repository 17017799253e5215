# SPDX-License-Identifier: Apache-2.0
"""What an outside system gives as a row: validated where there is a model, and held to be JSON of a bounded size."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from nerv.errors import SchemaMismatch
from nerv.perspectives import Perspective
from nerv.sync.canonical import canonical
from nerv.sync.errors import LoadRefused

MAX_ROW_BYTES = 128 * 1024  # an event that holds a row, with its key, stays below the limit of 256 KiB
MAX_FAULTS = 20  # that one refusal names

Model = type[BaseModel]
Fault = dict[str, str]
"""What is wrong with a row: its place, the column, and a text for people."""


class FaultyRow(Exception):
    """A row that cannot be taken: each fault as `(column, detail)`."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__(faults)
        self.faults = faults


def read_row(model: Model | None, raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    """A row as it is compared, and as canonical JSON. A perspective gives its `diff_row`, another model what it dumps.

    Raises FaultyRow.
    """
    try:
        row = _validated(model, raw)
        content = canonical(row)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise FaultyRow([(".".join(map(str, fault["loc"])), fault["msg"]) for fault in faults]) from None
    except SchemaMismatch as error:
        told = [(str(one.get("path", "")), str(one.get("detail", ""))) for one in error.errors]
        raise FaultyRow(told or [("", error.detail)]) from None
    except TypeError as error:
        raise FaultyRow([("", f"JSON cannot hold it: {error}")]) from None
    if len(content) > MAX_ROW_BYTES:
        raise FaultyRow([("", f"the row has {len(content)} bytes; the limit is {MAX_ROW_BYTES}")])
    return row, content


def _validated(model: Model | None, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    if model is None:
        return raw
    if issubclass(model, Perspective):
        return model.diff_row(raw)
    return model.model_validate(raw).model_dump(mode="json")


def fault(place: str, column: str, detail: str) -> Fault:
    """A fault as programs get it."""
    return {"place": place, "column": column or "row", "detail": detail}


def refuse(faults: list[Fault]) -> None:
    """Raise LoadRefused for the faults of a load, if there are any: the first is told to people, all to programs."""
    if faults:
        first, more = faults[0], len(faults) - 1
        others = f" (and {more} more faults)" if more else ""
        raise LoadRefused(f"{first['place']}: {first['column']}: {first['detail']}{others}", errors=faults)
