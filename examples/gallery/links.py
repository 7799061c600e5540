"""A link checker: what ``links.yaml`` names."""

import urllib.error
import urllib.request
from collections import deque
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

_GOOD = 400


class _Links(HTMLParser):
    """Collects where a page leads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take ``href`` and ``src``."""
        wanted = {("a", "href"), ("img", "src")}
        self.found += [value for name, value in attrs if value and (tag, name) in wanted]


def crawl(site: str, pages: int = 100) -> dict[str, Any]:
    """Read the pages of a site; return every address they lead to, and from where."""
    home = urlsplit(site).netloc
    waiting, read = deque([site]), {site}
    found: dict[str, list[str]] = {site: []}
    while waiting and len(read) <= pages:
        page = waiting.popleft()
        for address in _links_of(page):
            found.setdefault(address, []).append(page)
            if urlsplit(address).netloc == home and address not in read:
                read.add(address)
                waiting.append(address)
    return {"addresses": sorted(found), "from": found}


def _links_of(page: str) -> list[str]:
    try:
        with urllib.request.urlopen(page, timeout=10) as answer:  # noqa: S310  (http, see below)
            if "html" not in answer.headers.get("Content-Type", ""):
                return []
            links = _Links()
            links.feed(answer.read().decode("utf-8", "replace"))
    except (urllib.error.URLError, TimeoutError):
        return []  # it is reported when it is checked
    whole = (urldefrag(urljoin(page, link)).url for link in links.found)
    return [address for address in whole if address.startswith(("http://", "https://"))]


def report(crawl: dict[str, Any], check: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Say which addresses do not answer, or not well, and which pages name them."""
    broken = []
    for address, answer in zip(crawl["addresses"], check, strict=True):
        status = answer["status"] if answer else None
        if status is None or status >= _GOOD:
            broken.append({"url": address, "status": status, "on": crawl["from"][address]})
    return {"checked": len(check), "broken": broken}
