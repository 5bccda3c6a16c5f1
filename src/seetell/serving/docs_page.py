"""``/docs``: the OpenAPI document as a page to read, with examples to try. The usual pages load their scripts
from elsewhere; no request of ours leaves the machine."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
summary { cursor: pointer; padding: .4rem 0 } code { font-size: .95rem }
pre { overflow: auto; padding: .5rem; white-space: pre-wrap; overflow-wrap: anywhere }
b { display: inline-block; width: 3.5rem }
textarea { display: block; box-sizing: border-box; width: 100%; height: 9rem; font: .9rem/1.4 monospace }
button { font: inherit; padding: .3rem 1rem; margin: .5rem 0 }
form label { display: block; margin-top: .5rem }
"""

# Below a proxy's prefix the page lies there, too: addresses are relative to it. Nothing that was answered is
# put into the page as HTML.
_SCRIPT = """
const read = file => new Promise((done, fail) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => fail(reader.error);
  reader.readAsDataURL(file);
});
for (const form of document.querySelectorAll('form[data-path]')) {
  const {path, method} = form.dataset;
  const [said, file] = ['textarea', '[type=file]'].map(kind => form.querySelector(kind));
  if (file) file.onchange = async () => {
    try {
      const request = JSON.parse(said.value);
      request[file.dataset.field] = await read(file.files[0]);
      said.value = JSON.stringify(request, null, 1);
    } catch (error) { form.querySelector('output').textContent = error; }
  };
  form.onsubmit = async event => {
    event.preventDefault();
    const key = document.getElementById('key').value, shown = form.querySelector('output');
    shown.textContent = '...';
    try {
      const answer = await fetch(path.slice(1), {
        method,
        headers: {
          ...(said && {'content-type': 'application/json'}),
          ...(key && {authorization: `Bearer ${key}`}),
        },
        body: said?.value,
      });
      const text = await answer.text();
      let plain = text;
      try { plain = JSON.stringify(JSON.parse(text), null, 1); } catch {}
      shown.textContent = `${answer.status}\\n${plain}`;
    } catch (error) { shown.textContent = error; }
  };
}
"""


def docs_page(document: dict[str, Any]) -> str:
    """A page of an OpenAPI document: every path, what it takes, an example to try, and what it answers."""
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
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>"
        "<p><label>Key, where the server has one: <input id=key type=password autocomplete=off></label></p>"
        f"{''.join(entries)}<script>{_SCRIPT}</script></html>"
    )


def _entry(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary>"
    ]
    content = operation.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {})
    if "{" not in path:
        parts.append(_trial(path, method, body.get("example"), _photo_field(content)))
    if body:
        parts.append(f"<p>Takes</p><pre>{_shown(document, body['schema'])}</pre>")
    if len(content) > 1:
        field = escape(_photo_field(content) or "")
        parts.append(
            "<p>Or a form (multipart/form-data) of the same fields, with the photo as its file "
            f"<code>{field}</code>; or the photo alone as the body, with its own Content-Type (image/jpeg) "
            "and the other fields in the address, after the <code>?</code>.</p>"
        )
    for status, answer in operation.get("responses", {}).items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        parts.append(f"<p>{escape(status)}: {escape(answer.get('description', ''))}</p>")
        if schema is not None and status.startswith("2"):
            parts.append(f"<pre>{_shown(document, schema)}</pre>")
    return "".join([*parts, "</details>"])


def _trial(path: str, method: str, example: Any, photo_field: str | None) -> str:
    """A form that sends the example, or what somebody made of it."""
    parts = [f"<form data-path='{escape(path)}' data-method={method.upper()}>"]
    if example is not None:
        text = escape(json.dumps(example, indent=1, ensure_ascii=False))
        parts.append(
            f"<textarea aria-label='What is sent to {escape(path)}' spellcheck=false>{text}</textarea>"
        )
        if photo_field is not None and example.get(photo_field, "")[:5] == "data:":
            parts.append(
                f"<label>Your photo: <input type=file accept='image/*' data-field={photo_field}></label> "
            )
    return "".join([*parts, "<button>Send</button><pre><output></output></pre></form>"])


def _photo_field(content: dict[str, Any]) -> str | None:
    """Where a form has its photo; None where there is none."""
    properties = content.get("multipart/form-data", {}).get("schema", {}).get("properties", {})
    return next((name for name, schema in properties.items() if schema.get("format") == "binary"), None)


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
