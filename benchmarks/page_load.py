"""What the first load of a web page costs: requests, bytes over the wire, and of which hosts.

    python benchmarks/page_load.py http://127.0.0.1:8000/

Drives an installed Chromium with an empty profile (Playwright, of the extra ``test``). docs/page.md has
what it printed.
"""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("address")
    address = parser.parse_args().address
    hosts: dict[str, int] = {}
    size_bytes = 0

    def asked(event: Any) -> None:
        url = urlsplit(event["request"]["url"])
        if url.scheme in ("http", "https"):
            hosts[url.netloc] = hosts.get(url.netloc, 0) + 1

    def loaded(event: Any) -> None:
        nonlocal size_bytes
        size_bytes += int(event["encodedDataLength"])

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page()
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.requestWillBeSent", asked)
        session.on("Network.loadingFinished", loaded)
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(3000)
        browser.close()
    print(json.dumps({"requests": sum(hosts.values()), "bytes": size_bytes, "hosts": hosts}))


if __name__ == "__main__":
    main()
