# SPDX-License-Identifier: Apache-2.0
"""May data that fits one JSON Schema (draft 2020-12) not fit another? Pure, and on the safe side.

No fault means that whatever was written by the declared fields of `old` fits `new`. Where it cannot tell (a pattern that has
changed, a keyword that it does not know) that is a fault. Undeclared fields of an open object are the reader's to ignore,
and not looked at: an open object may gain optional fields. Local references (`#/$defs/...`) are followed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from jsonschema import Draft202012Validator

from nerv.errors import Invalid

JsonSchema: TypeAlias = Mapping[str, Any] | bool

MOST_ALTERNATIVES = 1000  # of a union, values of enums included
DEEPEST = 64  # levels of nesting that are followed

_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"}
    | {"$comment", "$schema", "$id", "$defs"}
)
_KNOWN = frozenset(
    {"type", "enum", "const"}
    | {"properties", "required", "additionalProperties", "minProperties", "maxProperties", "propertyNames"}
    | {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"}
    | {"minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)


class Fault(NamedTuple):
    """Where data may no longer fit, as a path into the data (`/leg/origin`, `/tags/*`), and why."""

    path: str
    detail: str


def check_schema(schema: Any) -> None:
    """Raises Invalid for what is no JSON Schema, or refers to something outside of itself."""
    if not isinstance(schema, dict):
        raise Invalid("a JSON Schema is a JSON object")
    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
        raise Invalid(f"this is no JSON Schema: /{'/'.join(map(str, error.path))}: {error.message[:200]}")
    for reference in _references(schema):
        _resolved({"$ref": reference}, schema)


def faults(old: JsonSchema, new: JsonSchema) -> list[Fault]:
    """Where data that fits `old` may not fit `new`."""
    return list(_Comparison(old, new).between(old, new, ""))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _resolved(schema: JsonSchema, root: JsonSchema) -> JsonSchema:
    """The schema that a reference stands for; what stands beside the reference counts too."""
    for _ in range(DEEPEST):
        if isinstance(schema, bool) or "$ref" not in schema:
            return schema
        found: Any = root
        reference = schema["$ref"]
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise Invalid(f"$ref {reference!r} leads elsewhere; a registered schema holds all of itself, in $defs")
        for part in reference[1:].strip("/").split("/") if reference != "#" else []:
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or part not in found:
                raise Invalid(f"$ref {reference!r} leads nowhere in this schema")
            found = found[part]
        beside = {name: value for name, value in schema.items() if name != "$ref" and name not in _ANNOTATIONS}
        schema = found if not beside else {"allOf": [found, beside]}
    raise Invalid(f"$ref {schema['$ref']!r} leads in a circle" if isinstance(schema, Mapping) else "$ref is a circle")


@dataclass(slots=True)
class _Comparison:
    """One comparison of two documents. A pair of references that is met again within itself is taken to fit."""

    old_root: JsonSchema
    new_root: JsonSchema
    _open: set[tuple[str, str]]

    def __init__(self, old: JsonSchema, new: JsonSchema) -> None:
        self.old_root, self.new_root = old, new
        self._open = set()

    def between(self, old: JsonSchema, new: JsonSchema, path: str) -> Iterator[Fault]:
        """The faults at a place and below."""
        pair = (str(_reference(old)), str(_reference(new)))
        if pair[0] and pair[1] and pair in self._open:
            return
        if path.count("/") > DEEPEST:
            yield Fault(path, f"is nested deeper than {DEEPEST} levels; nobody can tell")
            return
        self._open.add(pair)
        try:
            yield from self._alternatives(old, new, path)
        finally:
            self._open.discard(pair)

    def _alternatives(self, old: JsonSchema, new: JsonSchema, path: str) -> Iterator[Fault]:
        """Each alternative of the old one must fit one of the new one."""
        try:
            wanted = _split(old, self.old_root)
        except _CannotTell as error:
            # What the old one demanded beyond our understanding only made its data fewer.
            wanted = [error.without]
        try:
            offered = _split(new, self.new_root, exactly_one=True)
        except _CannotTell as error:
            yield Fault(path, str(error))
            return
        if not offered:
            yield Fault(path, "nothing fits any more")
            return
        if any(not other for other in offered):
            return  # anything fits
        for one in wanted:
            best = min((list(self._single(one, other, path)) for other in offered), key=len)
            if best and len(offered) > 1 and len(best[0].path) <= len(path):
                yield Fault(path, f"{_name(one)} is none of {', '.join(map(_name, offered))}")
            else:
                yield from best

    def _single(self, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Fault]:
        if "const" in old:
            if not self._accepts(new, old["const"]):
                yield Fault(path, f"{old['const']!r} does not fit {_name(new)}")
            return
        if "const" in new:
            yield Fault(path, f"must be {new['const']!r}, and may have been {_name(old)}")
            return
        unknown = sorted(k for k in new.keys() - _KNOWN - _ANNOTATIONS if old.get(k) != new[k])
        if unknown:
            yield Fault(path, f"{', '.join(unknown)}: nobody can tell whether earlier data fits")
        if (kind := new.get("type")) is None:
            for each in _TYPES if "type" not in old else (old["type"],):
                yield from _COMPARED[each](self, old, new, path)
            return
        if old.get("type") != kind and not (old.get("type") == "integer" and kind == "number"):
            yield Fault(path, f"must be {kind}, and was {old.get('type', 'anything')}")
            return
        yield from _COMPARED[kind](self, old, new, path)

    def _accepts(self, new: Mapping[str, Any], value: Any) -> bool:
        defs = self.new_root.get("$defs", {}) if isinstance(self.new_root, Mapping) else {}
        return Draft202012Validator({**new, "$defs": defs}).is_valid(value)

    def _object(self, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Fault]:
        had, has = old.get("properties", {}), new.get("properties", {})
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield Fault(f"{path}/{name}", "is required, and was not")
        rest_old, rest_new = old.get("additionalProperties", True), new.get("additionalProperties", True)
        for name in sorted(had):
            if name in has:
                yield from self.between(had[name], has[name], f"{path}/{name}")
            elif rest_new is False:
                yield Fault(f"{path}/{name}", "is not allowed any more")
            else:
                yield from self.between(had[name], rest_new, f"{path}/{name}")
        if isinstance(rest_old, Mapping):
            for name in sorted(has.keys() - had.keys()):
                yield from self.between(rest_old, has[name], f"{path}/{name}")
        if rest_new is not True and rest_old is not False:
            if rest_new is False:
                yield Fault(f"{path}/*", "fields that are not declared are refused now")
            else:
                yield from self.between(rest_old, rest_new, f"{path}/*")
        if "propertyNames" in new:
            yield from self.between(old.get("propertyNames", {"type": "string"}), new["propertyNames"], f"{path}/*")
        yield from _bounds(old, new, path, low=("minProperties",), high=("maxProperties",))

    def _array(self, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Fault]:
        first_old, first_new = old.get("prefixItems", []), new.get("prefixItems", [])
        rest_old, rest_new = old.get("items", True), new.get("items", True)
        for index in range(max(len(first_old), len(first_new))):
            one = first_old[index] if index < len(first_old) else rest_old
            other = first_new[index] if index < len(first_new) else rest_new
            if index < old.get("maxItems", DEEPEST) and one is not False:
                yield from self.between(one, other, f"{path}/{index}")
        if old.get("maxItems", float("inf")) > max(len(first_old), len(first_new)) and rest_old is not False:
            yield from self.between(rest_old, rest_new, f"{path}/*")
        if new.get("uniqueItems") and not old.get("uniqueItems"):
            yield Fault(path, "items must be unique, and need not have been")
        yield from _bounds(old, new, path, low=("minItems",), high=("maxItems",))

    def _string(self, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Fault]:
        for keyword in ("pattern", "format", "contentEncoding", "contentMediaType"):
            if keyword in new and new[keyword] != old.get(keyword):
                yield Fault(path, f"{keyword} is {new[keyword]!r}, and was {old.get(keyword, 'free')!r}")
        yield from _bounds(old, new, path, low=("minLength",), high=("maxLength",))

    def _number(self, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Fault]:
        yield from _bounds(old, new, path, low=("minimum", "exclusiveMinimum"), high=("maximum", "exclusiveMaximum"))
        step, before = new.get("multipleOf"), old.get("multipleOf")
        if step is not None and (before is None or Decimal(str(before)) % Decimal(str(step))):
            yield Fault(path, f"must be a multiple of {step}, and was {'free' if before is None else f'of {before}'}")

    def _nothing(self, old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[Fault]:
        return iter(())


_Compared = Callable[[_Comparison, Mapping[str, Any], Mapping[str, Any], str], Iterator[Fault]]
_TYPES = ("object", "array", "string", "number", "boolean", "null")
_COMPARED: Mapping[str, _Compared] = {
    "object": _Comparison._object,
    "array": _Comparison._array,
    "string": _Comparison._string,
    "number": _Comparison._number,
    "integer": _Comparison._number,
    "boolean": _Comparison._nothing,
    "null": _Comparison._nothing,
}


class _CannotTell(Exception):
    """`without` is the schema without what is not understood."""

    def __init__(self, text: str, without: Mapping[str, Any]) -> None:
        super().__init__(text)
        self.without = without


def _split(schema: JsonSchema, root: JsonSchema, *, exactly_one: bool = False) -> Sequence[Mapping[str, Any]]:
    """A schema as alternatives without unions: one type, or one value, each. None: nothing fits.

    With `exactly_one` a `oneOf` counts only where a discriminator keeps its parts apart.
    """
    schema = _resolved(schema, root)
    if isinstance(schema, bool):
        return [{}] if schema else []
    own = {name: value for name, value in schema.items() if name not in _ANNOTATIONS}
    for keyword in ("allOf", "anyOf", "oneOf"):
        if keyword in own:
            return _union(schema, own, keyword, root, exactly_one)
    if "enum" in own:
        return [{"const": value} for value in own["enum"]][:MOST_ALTERNATIVES]
    if isinstance(own.get("type"), list):
        return [{**own, "type": kind} for kind in own["type"]]
    return [own]


def _union(
    schema: Mapping[str, Any], own: dict[str, Any], keyword: str, root: JsonSchema, exactly_one: bool
) -> Sequence[Mapping[str, Any]]:
    parts: Sequence[JsonSchema] = own.pop(keyword)
    if keyword == "allOf":
        merged = dict(own)
        for part in (_resolved(part, root) for part in parts):
            named = {} if part is True else part
            if not isinstance(named, Mapping) or merged.keys() & (named.keys() - _ANNOTATIONS):
                raise _CannotTell("allOf: nobody can tell whether earlier data fits", own)
            merged |= {name: value for name, value in named.items() if name not in _ANNOTATIONS}
        return _split(merged, root, exactly_one=exactly_one)
    if own:
        raise _CannotTell(f"{', '.join(sorted(own))} beside {keyword}: nobody can tell whether earlier data fits", {})
    if keyword == "oneOf" and exactly_one and len(parts) > 1 and "discriminator" not in schema:
        raise _CannotTell("oneOf without a discriminator: nobody can tell whether earlier data fits", {})
    found = [one for part in parts for one in _split(part, root, exactly_one=exactly_one)]
    if len(found) > MOST_ALTERNATIVES:
        raise _CannotTell(f"a union of more than {MOST_ALTERNATIVES} alternatives", {})
    return found


def _bounds(
    old: Mapping[str, Any], new: Mapping[str, Any], path: str, *, low: Sequence[str], high: Sequence[str]
) -> Iterator[Fault]:
    """Bounds may only widen. Of two keywords the second one excludes the bound itself."""
    for names, sign in ((low, 1), (high, -1)):
        before = _tightest(old, names, sign)
        for name in names:
            if name not in new:
                continue
            bound = (sign * new[name], name.startswith("exclusive"))
            if before is None or before < bound:
                was = "free" if before is None else f"{sign * before[0]}"
                yield Fault(path, f"{name} is {new[name]}, and was {was}")


def _tightest(schema: Mapping[str, Any], names: Sequence[str], sign: int) -> tuple[float, bool] | None:
    found = [(sign * schema[name], name.startswith("exclusive")) for name in names if name in schema]
    if not found and names[0] in ("minLength", "minItems", "minProperties"):
        return (0, False)
    return max(found, default=None)


def _reference(schema: JsonSchema) -> str:
    return "" if isinstance(schema, bool) else schema.get("$ref", "")


def _name(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return repr(schema["const"])
    return str(schema.get("title") or schema.get("type") or "anything")
