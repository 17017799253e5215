# SPDX-License-Identifier: Apache-2.0
"""The tables of settings in the documents have every variable that there is, with its default, and none that is gone."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nerv.service import ServiceSettings

ROOT = Path(__file__).parent.parent.parent
SERVICES = ("broker", "temporal", "projector", "sync", "scheduler")
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def settings_of(service: str) -> type[ServiceSettings]:
    """The class that a service reads its variables by."""
    found: type[ServiceSettings] = getattr(
        importlib.import_module(f"nerv_{service}.settings"), f"{service.capitalize()}Settings"
    )
    return found


def variables(fields: dict[str, FieldInfo], prefix: str = "NERV_") -> Iterator[tuple[str, FieldInfo]]:
    """Every variable of a class and of those nested in it."""
    for name, field in fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from variables(inner.model_fields, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", field


COMMON = dict(variables(ServiceSettings.model_fields))
# What a service does with a variable that all have, said in its own table too.
AGAIN = {"temporal": {"NERV_DATA_DIR"}}


def table(text: str) -> dict[str, str]:
    """The rows of the tables `variable | default | meaning`; a row may name several, with a default for each."""
    found: dict[str, str] = {}
    for row in re.findall(r"^\| (`NERV_[^|]+)\|([^|]+)\|", text, re.M):
        names = re.findall(r"`(NERV_\w+)`", row[0])
        defaults = [row[1].strip()] if len(names) == 1 else [part.strip() for part in row[1].split(", ")]
        found |= dict(zip(names, defaults, strict=True))
    return found


def section(service: str) -> str:
    """What the page of a service says of its settings."""
    page = (ROOT / "services" / service / "README.md").read_text(encoding="utf-8")
    [found] = re.findall(r"^## Settings\n(.*?)(?=^## )", page, re.S | re.M)
    return str(found)


def told(default: str) -> Any:
    """A default as a page writes it: a number with or without a unit, none, true, false, JSON, or words."""
    number = re.fullmatch(r"(\d+(?:\.\d+)?)(?: (KiB|MiB|GiB))?", default)
    if number:
        return float(number[1]) * UNITS.get(number[2], 1)
    if default.startswith("`["):
        return tuple(re.findall(r'"([^"]+)"', default))
    return {"none": None, "true": True, "false": False}.get(default, default)


def agrees(default: str, field: FieldInfo) -> bool:
    """Whether a page tells the default of a field; one that is made when it is asked for is told by words."""
    if field.default_factory is not None:
        return not isinstance(told(default), float)
    wanted = None if field.default == () else field.default
    if wanted is None:
        return not isinstance(told(default), float | bool)
    return bool(told(default) == wanted)


def differences(page: dict[str, str], fields: dict[str, FieldInfo]) -> list[str]:
    """What a page lacks, has too much, or tells otherwise."""
    found = [f"{name} is in no table" for name in fields.keys() - page.keys()]
    found += [f"{name} is no variable any more" for name in page.keys() - fields.keys()]
    both = fields.keys() & page.keys()
    found += [
        f"{name} is {fields[name].default!r}, not {page[name]}" for name in both if not agrees(page[name], fields[name])
    ]
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_of_a_service_has_all_that_it_alone_can_be_set(service: str) -> None:
    """Each variable of its class that is not everybody's, with its default, in `services/*/README.md`."""
    fields = dict(variables(settings_of(service).model_fields))
    own = {name: field for name, field in fields.items() if name not in COMMON or name in AGAIN.get(service, ())}
    assert differences(table(section(service)), own) == []


def test_one_page_has_all_that_every_service_can_be_set() -> None:
    """Each variable of `ServiceSettings`, with its default, in docs/settings.md."""
    assert differences(table((ROOT / "docs" / "settings.md").read_text(encoding="utf-8")), COMMON) == []


def test_a_table_that_is_wrong_is_found() -> None:
    """One variable is missing, one is gone, one has another default."""
    page = table("| `NERV_MESH` | nerv | |\n| `NERV_PARTITIONS` | 5 | |\n| `NERV_GONE`, `NERV_APP` | 1, none | |\n")
    fields = {name: COMMON[name] for name in ("NERV_MESH", "NERV_PARTITIONS", "NERV_APP", "NERV_LOG_LEVEL")}
    assert sorted(differences(page, fields)) == [
        "NERV_GONE is no variable any more",
        "NERV_LOG_LEVEL is in no table",
        "NERV_PARTITIONS is 4, not 5",
    ]
