"""Open every page of the site in a headless browser: links, scripts, search.

    python .ci/look_docs.py HTML

Every link within the site leads to a page and a place that are there, nothing is loaded
from another host, no script complains, and the search finds what it should. Links to other
sites are looked at, not followed.
"""

import html.parser
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from browser import open_page, serve

SOUGHT = "perturbation"
FOUND = "api/training.html#fastnn.Perturbation"  # among what the search must show


class Page(html.parser.HTMLParser):
    """The places of a page, where it leads, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.loaded = {""}, set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.places.add(attrs.get("id", ""))
        if attrs.get("href") and tag == "a":
            self.links.add(attrs["href"])
        elif attrs.get("src") or attrs.get("href"):
            self.loaded.add(attrs.get("src") or attrs["href"])


def find_faults(address, name, page, pages, folder):
    """Yield what is wrong with where a page leads, and with what it loads."""
    for link in page.links | page.loaded:
        target = urlsplit(urljoin(f"{address}/{name}", link))
        if f"{target.scheme}://{target.netloc}" != address:
            if target.scheme != "data" and link in page.loaded:
                yield f"loads {link}"
            elif target.scheme != "data" and (target.scheme != "https" or "." not in target.netloc):
                yield f"links to {link}, which is no address"
            continue
        path = unquote(target.path).lstrip("/")
        if path in pages:
            if unquote(target.fragment) not in pages[path].places:
                yield f"links to {link}, and there is no such place on that page"
        elif not (folder / path).is_file():
            yield f"links to {link}, which is not there"


def main(folder):
    address = serve(folder)
    faults, pages = [], {}
    for path in sorted(folder.rglob("*.html")):
        name = path.relative_to(folder).as_posix()
        text, messages = open_page(f"{address}/{name}")
        pages[name] = Page(text)
        faults += [f"{name}: {message}" for message in messages]
    for name, page in pages.items():
        faults += [f"{name} {fault}" for fault in find_faults(address, name, page, pages, folder)]
    text, messages = open_page(f"{address}/search.html?q={SOUGHT}")
    faults += [f"the search: {message}" for message in messages]
    if FOUND not in Page(text).links:
        faults.append(f"the search for {SOUGHT!r} does not show {FOUND}")
    links = sum(len(page.links) for page in pages.values())
    for fault in faults:
        print(fault)
    print(f"{len(pages)} pages, {links:,} links, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
