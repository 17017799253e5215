# SPDX-License-Identifier: Apache-2.0
"""An AsyncAPI document as one HTML page that needs nothing from anywhere: topics, their events, the fields of each. Pure."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
code, th, td { font-size: .9rem; } code { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } .soft { opacity: .7; } nav a { margin-right: 1rem; } ul { padding-left: 1.2rem; }
"""
DEEPEST = 6  # levels of nested objects that are shown


def page(document: Mapping[str, Any]) -> str:
    """The page of a document that `asyncapi` made."""
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])}</h1><p class=soft>{escape(info['description'])}</p>",
        "<nav>" + "".join(f"<a href='#{escape(name)}'>{escape(name)}</a>" for name in document["channels"]) + "</nav>",
        *(part for name in document["channels"] for part in _channel(document, name)),
        "</html>",
    ]
    return "\n".join(parts)


def _channel(document: Mapping[str, Any], name: str) -> Iterator[str]:
    channel = document["channels"][name]
    kafka = channel["bindings"]["kafka"]
    yield f"<h2 id='{escape(name)}'>{escape(channel['address'])}</h2>"
    yield f"<p class=soft>{kafka['partitions']} partitions</p>"
    heard = [
        f"<li><code>{escape(operation['messages'][0]['$ref'].rpartition('/')[2])}</code>: {escape(operation['summary'])}</li>"
        for operation_name, operation in document["operations"].items()
        if operation_name.startswith("react-") and operation["channel"]["$ref"] == f"#/channels/{name}"
    ]
    if heard:
        yield f"<p>Reactions:</p><ul>{''.join(heard)}</ul>"
    for message in channel["messages"]:
        yield from _message(document, message)


def _message(document: Mapping[str, Any], name: str) -> Iterator[str]:
    message = document["components"]["messages"][name]
    yield f"<h3 id='{escape(name)}'><code>{escape(message['name'])}</code></h3>"
    if "description" in message:
        yield f"<p>{escape(message['description'])}</p>"
    yield f"<p class=soft>Key: {escape(message['bindings']['kafka']['key']['description'])}</p>"
    rows = "".join(
        f"<tr><td><code>{escape(path)}</code><td>{escape(kind)}<td>{'yes' if needed else ''}<td>{escape(text)}"
        for path, kind, needed, text in fields(document, message["payload"])
    )
    yield f"<table><tr><th>field<th>type<th>required<th>meaning{rows}</table>"


def fields(
    document: Mapping[str, Any], schema: Mapping[str, Any], path: str = "", depth: int = 0
) -> Iterator[tuple[str, str, bool, str]]:
    """Path, type, whether it is required, and description of each field, nested ones after their own."""
    schema = _resolved(document, schema)
    if depth >= DEEPEST:
        return
    for name, inner in schema.get("properties", {}).items():
        place = f"{path}.{name}" if path else name
        found = _resolved(document, inner)
        yield place, _type(document, inner), name in schema.get("required", ()), str(found.get("description", ""))
        yield from fields(document, _element(document, found), place, depth + 1)


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _element(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an array or a union with null holds, where that has fields."""
    while "items" in schema:
        schema = _resolved(document, schema["items"])
    for inner in schema.get("anyOf", ()):
        if "properties" in (found := _resolved(document, inner)):
            return found
    return schema


def _type(document: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "$ref" in schema and "enum" not in _resolved(document, schema):
        return str(schema["$ref"].rpartition("/")[2])
    schema = _resolved(document, schema)
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(_type(document, inner) for inner in schema.get("anyOf") or schema["oneOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(map(repr, schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("type", "anything"))
    if kind == "array" and "items" in schema:
        return f"list of {_type(document, schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"mapping to {_type(document, schema['additionalProperties'])}"
    return str(schema.get("format", kind))
