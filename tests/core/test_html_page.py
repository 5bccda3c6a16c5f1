"""The page that every report is put into: closed to the net, and its title is no markup."""

from __future__ import annotations

from seetell.core.html_page import escaped, html_page


def test_a_page_lets_nothing_in() -> None:
    page = html_page('<b> & "x"', "p { color: red; }", "<p>{braces} and %s</p>")
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n")
    assert "default-src 'none'" in page and "color-scheme: light dark" in page
    assert page.count("&lt;b&gt; &amp; &quot;x&quot;") == 2, "the title and the heading"
    assert "p { color: red; }\n</style>" in page and "<p>{braces} and %s</p>" in page


def test_names_that_are_no_text() -> None:
    assert escaped("<a'\udcff>") == "&lt;a&#x27;\\udcff&gt;"
    escaped("\ud800 \udcff").encode("utf-8")
