"""One HTML page with everything in it, for any browser, offline: what every report of ours is put into.

No script and nothing fetched, which the page itself forbids; pictures lie inside as data. Whatever comes from
files and models goes through :func:`escaped` where it is put in.
"""

from __future__ import annotations

import html

_STYLE = """
:root { color-scheme: light dark; --accent: #3b76d6; --good: #2b8a4b; --bad: #c0453a; --soft: #8882;
 --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
@media (max-width: 40rem) { body > table { display: block; overflow-x: auto; } }
""".strip()

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def html_page(title: str, style: str, body: str) -> str:
    """A page.

    Args:
        title: as text; it is the heading, too.
        style: CSS after that of every page (colours as ``--accent``, ``--good``, ``--bad``, ``--soft`` and
            ``--line``, light and dark).
        body: HTML, with what it quotes already escaped.
    """
    return _PAGE.format(title=escaped(title), style=f"{_STYLE}\n{style.strip()}", body=body)


def escaped(text: str) -> str:
    """Text as HTML. A file's name need not be valid UTF-8; the page is."""
    return html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8"))
