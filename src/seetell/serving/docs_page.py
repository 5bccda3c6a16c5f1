"""``/docs``: the OpenAPI document as a page to read. The usual pages load their scripts from elsewhere; no
request of ours leaves the machine."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .4rem 0 } code { font-size: .95rem }
pre { overflow: auto; padding: .5rem }
b { display: inline-block; width: 3.5rem }
"""


def docs_page(document: dict[str, Any]) -> str:
    """A page of an OpenAPI document: every path, what it takes, and what it answers."""
    entries = [
        _entry(document, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    info = document["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        f"<p>For programs: <a href=openapi.json>openapi.json</a></p>{''.join(entries)}</html>"
    )


def _entry(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary>"
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        parts.append(f"<p>Takes</p><pre>{_shown(document, body)}</pre>")
    for status, answer in operation.get("responses", {}).items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        parts.append(f"<p>{escape(status)}: {escape(answer.get('description', ''))}</p>")
        if schema is not None and status.startswith("2"):
            parts.append(f"<pre>{_shown(document, schema)}</pre>")
    return "".join([*parts, "</details>"])


def _shown(document: dict[str, Any], schema: dict[str, Any]) -> str:
    return escape(json.dumps(_resolved(document, schema), indent=1, ensure_ascii=False))


def _resolved(document: dict[str, Any], schema: Any) -> Any:
    """A schema with what it refers to in its place. Ours refer to nothing that refers back."""
    if isinstance(schema, list):
        return [_resolved(document, one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    name = schema.get("$ref")
    if name is not None:
        return _resolved(document, document["components"]["schemas"][name.rpartition("/")[2]])
    return {key: _resolved(document, value) for key, value in schema.items() if key != "title"}
