# SPDX-License-Identifier: Apache-2.0
"""Comparing JSON Schemas: what passes is safe, and what people change day by day is judged as they would."""

import random
from collections.abc import Iterable
from copy import deepcopy
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field, create_model

from nerv.errors import Invalid
from nerv.schemas import json_schema
from nerv.schemas.json_schema import check_schema, faults


class Leg(BaseModel):
    """Nested."""

    origin: str
    dest: str = ""


class Closed(BaseModel):
    """Refuses what it does not declare."""

    model_config = ConfigDict(extra="forbid")

    origin: str
    dest: str = ""


class Color(Enum):
    """Some values."""

    RED = "red"
    BLUE = "blue"


class MoreColor(Enum):
    """One more."""

    RED = "red"
    BLUE = "blue"
    GREEN = "green"


class Cat(BaseModel):
    """Of a union."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    """Of a union."""

    kind: Literal["dog"]


class Tree(BaseModel):
    """Recursive."""

    name: str
    inner: "list[Tree]" = []


class WiderTree(BaseModel):
    """Recursive, with more."""

    name: str | int
    inner: "list[WiderTree]" = []
    note: str | None = None


def schema_of(fields: dict[str, Any]) -> dict[str, Any]:
    """The schema of a model with these fields: a type is required, a pair has a default."""
    named: dict[str, Any] = {name: what if isinstance(what, tuple) else (what, ...) for name, what in fields.items()}
    model: type[BaseModel] = create_model("Model", **named)
    return model.model_json_schema(mode="validation")


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]

FITS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("an optional field more", {"a": int}, {"a": int, "b": (str, "")}),
    ("a field less", {"a": int, "b": str}, {"a": int}),
    ("required becomes optional", {"a": int}, {"a": (int, 0)}),
    ("a wider number", {"a": int}, {"a": float}),
    ("null allowed", {"a": int}, {"a": int | None}),
    ("a wider union", {"a": int | str}, {"a": int | str | None}),
    ("a wider bound", {"a": Annotated[int, Field(ge=5)]}, {"a": Annotated[int, Field(ge=0)]}),
    ("a bound given up", {"a": Annotated[str, Field(max_length=5)]}, {"a": str}),
    ("more values", {"a": Color}, {"a": MoreColor}),
    ("any text instead of some values", {"a": Color}, {"a": str}),
    ("a nested optional field", {"a": Leg}, {"a": create_model("Leg", origin=(str, ...))}),
    ("one more of a union by kind", {"a": Cat}, {"a": Pet}),
    ("a wider list", {"a": list[int]}, {"a": list[int | None]}),
    ("a wider mapping", {"a": dict[str, int]}, {"a": dict[str, float]}),
    ("a pair becomes a list", {"a": tuple[int, int]}, {"a": list[int]}),
    ("a closed model becomes a mapping", {"a": Closed}, {"a": dict[str, str]}),
    ("recursion", {"a": Tree}, {"a": WiderTree}),
    ("anything", {"a": int}, {"a": Any}),
    ("at least became more than", {"a": Annotated[int, Field(ge=5)]}, {"a": Annotated[int, Field(gt=4)]}),
]
DOES_NOT_FIT: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("a required field more", {"a": int}, {"a": int, "b": str}, "/b", "required"),
    ("optional becomes required", {"a": (int, 0)}, {"a": int}, "/a", "required"),
    ("another type", {"a": int}, {"a": str}, "/a", "must be string, and was integer"),
    ("a narrower number", {"a": float}, {"a": int}, "/a", "must be integer"),
    ("null forbidden", {"a": int | None}, {"a": int}, "/a", "must be integer, and was null"),
    ("a narrower union", {"a": int | str | None}, {"a": int | str}, "/a", "null is none of"),
    ("a tighter bound", {"a": Annotated[int, Field(ge=0)]}, {"a": Annotated[int, Field(ge=5)]}, "/a", "minimum is 5"),
    ("a new bound", {"a": str}, {"a": Annotated[str, Field(max_length=5)]}, "/a", "maxLength is 5"),
    ("fewer values", {"a": MoreColor}, {"a": Color}, "/a", "'green' is none of"),
    ("a pattern", {"a": str}, {"a": Annotated[str, Field(pattern="^x")]}, "/a", "pattern"),
    ("nested", {"a": create_model("Leg", origin=(str, ...))}, {"a": create_model("Leg", dest=(str, ...))}, "/a/dest", ""),
    ("one less of a union by kind", {"a": Pet}, {"a": Cat}, "/a/kind", "'dog'"),
    ("items", {"a": list[str]}, {"a": list[int]}, "/a/*", "must be integer"),
    ("values of a mapping", {"a": dict[str, str]}, {"a": dict[str, int]}, "/a/*", "must be integer"),
    ("recursion", {"a": WiderTree}, {"a": Tree}, "/a/name", "integer"),
    ("something of anything", {"a": Any}, {"a": int}, "/a", "anything"),
    ("an open model becomes a mapping", {"a": Leg}, {"a": dict[str, str]}, "/a/*", "must be string"),
    ("an open model is closed", {"a": Leg}, {"a": Closed}, "/a/*", "not declared"),
    ("more items", {"a": list[int]}, {"a": Annotated[list[int], Field(min_length=1)]}, "/a", "minItems"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), [case[1:] for case in FITS], ids=[case[0] for case in FITS])
def test_what_widens_passes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Each of these changes leaves all earlier data readable."""
    assert faults(schema_of(old), schema_of(new)) == []


@pytest.mark.parametrize(
    ("old", "new", "path", "words"), [case[1:] for case in DOES_NOT_FIT], ids=[case[0] for case in DOES_NOT_FIT]
)
def test_what_narrows_is_named_with_its_path(old: dict[str, Any], new: dict[str, Any], path: str, words: str) -> None:
    """Each of these changes would refuse some earlier data, and the fault says where and what."""
    found = faults(schema_of(old), schema_of(new))
    assert any(fault.path == path and words in fault.detail for fault in found), found


KINDS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": "number"},
    {"type": "integer", "minimum": 2},
    {"type": "integer", "exclusiveMinimum": 2, "maximum": 9},
    {"type": "integer", "multipleOf": 3},
    {"type": "number", "maximum": 3},
    {"type": "string"},
    {"type": "string", "maxLength": 3},
    {"type": "string", "minLength": 1, "maxLength": 2},
    {"type": "boolean"},
    {"type": "null"},
    {"enum": ["a", "b"]},
    {"enum": ["a", 3, None]},
    {"const": 3},
    {"type": ["integer", "null"]},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
]


def schema(rng: random.Random, depth: int) -> Any:
    """A schema of at most this depth."""
    shape = rng.choice(["scalar", "typed", "mapping", "array", "pair", "union"]) if depth else "scalar"
    inner = [schema(rng, depth - 1) for _ in range(3)] if shape != "scalar" else []
    if shape == "typed":
        found = dict(zip(rng.sample("abc", rng.randint(1, 3)), inner, strict=False))
        closed = {"additionalProperties": False} if rng.random() < 0.3 else {}
        return {"type": "object", "properties": found, "required": some(rng, found)} | closed
    if shape == "mapping":
        return {"type": "object", "additionalProperties": inner[0]}
    if shape == "array":
        return {"type": "array", "items": inner[0], "minItems": rng.randint(0, 2), "maxItems": 3}
    if shape == "pair":
        return {"type": "array", "prefixItems": inner[:2], "minItems": 2, "maxItems": 2}
    return {"anyOf": inner[:2]} if shape == "union" else rng.choice([*KINDS, True])


def some(rng: random.Random, found: Iterable[str]) -> list[str]:
    """Some of these."""
    return [one for one in found if rng.random() < 0.5]


def changed(rng: random.Random, before: Any) -> Any:
    """A schema like this one, with some of its parts changed."""
    if before is True or rng.random() < 0.1:
        return rng.choice(KINDS)
    made = dict(before)
    if made in KINDS:
        return rng.choice([made, *(one for one in KINDS if one.get("type") == made.get("type"))])
    for keyword in ("items", "additionalProperties"):
        if made.get(keyword, False) is not False:
            made[keyword] = changed(rng, made[keyword])
    for keyword in ("anyOf", "prefixItems"):
        if keyword in made:
            made[keyword] = [changed(rng, one) for one in made[keyword]]
    if "items" in made:
        made["minItems"] = rng.randint(0, 2)
    if "properties" in made:
        kept = {name: changed(rng, one) for name, one in made["properties"].items() if rng.random() < 0.9}
        made |= {"properties": kept, "required": some(rng, kept)}
    return made


ANYTHING = [None, True, False, *range(-3, 13), 2.5, "", "a", "b", "abc", "abcd"]


def value(rng: random.Random, written: Any) -> Any:
    """What a writer of the schema writes: a value that fits it, by its declared fields."""
    if written is True or written in KINDS:
        return rng.choice([one for one in ANYTHING if Draft202012Validator(written).is_valid(one)])
    if "anyOf" in written:
        return value(rng, rng.choice(written["anyOf"]))
    if "prefixItems" in written:
        return [value(rng, one) for one in written["prefixItems"]]
    if "items" in written:
        return [value(rng, written["items"]) for _ in range(rng.randint(written["minItems"], 3))]
    if "properties" not in written:
        return {name: value(rng, written["additionalProperties"]) for name in some(rng, "abcd")}
    wanted = {*written["required"], *some(rng, written["properties"])}
    return {name: value(rng, one) for name, one in written["properties"].items() if name in wanted}


def look(pairs: int) -> int:
    """Whether, without a fault, any value that fits the old schema is refused by the new one; how many pairs passed."""
    rng = random.Random(7)  # noqa: S311 - the same pairs each time: what they find once they find for ever
    checked = 0
    for _ in range(pairs):
        old = schema(rng, rng.randint(0, 3))
        new = changed(rng, old)
        if old == new or json_schema.faults(old, new):
            continue
        checked += 1
        for _ in range(10):
            written = value(rng, old)
            assert Draft202012Validator(new).is_valid(written), (old, new, written)
    return checked


def test_whatever_passes_is_safe() -> None:
    """No fault, no refusal; and enough pairs passed to say so."""
    assert look(5000) > 500


@pytest.mark.parametrize(
    "ignored", ["required", "minItems", "minimum", "maxLength", "additionalProperties", "const", "multipleOf"]
)
def test_the_property_finds_a_comparison_that_overlooks_a_keyword(
    ignored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comparison that does not look at one of the keywords is caught."""
    right = json_schema.faults

    def without(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: without(inner) for name, inner in part.items() if name != ignored}
        return [without(one) for one in part] if isinstance(part, list) else part

    monkeypatch.setattr(json_schema, "faults", lambda old, new: right(old, without(new)))
    with pytest.raises(AssertionError):
        look(5000)


def test_a_schema_reads_itself() -> None:
    """Registering the same again is never a fault."""
    rng = random.Random(8)  # noqa: S311 - no secret
    for _ in range(1000):
        one = schema(rng, 3)
        assert json_schema.faults(one, deepcopy(one)) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "object"),
        ({"type": "text"}, "no JSON Schema"),
        ({"$ref": "other.json"}, "leads elsewhere"),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}}, "leads nowhere"),
        ({"$ref": "#"}, "circle"),
    ],
)
def test_what_is_no_schema_is_refused(document: Any, words: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(Invalid, match=words):
        check_schema(document)


def test_what_nobody_can_tell_is_a_fault() -> None:
    """A condition that is new may refuse anything; one that was there before refuses what it always did."""
    condition: dict[str, Any] = {"type": "string", "not": {"const": "x"}}
    assert "nobody can tell" in faults({"type": "string"}, condition)[0].detail
    assert faults(condition, condition) == []
    assert faults(condition, {"type": "string"}) == []
