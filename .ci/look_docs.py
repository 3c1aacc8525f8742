"""Open every page of the site in a headless browser: links, scripts, search, and how it looks.

    python .ci/look_docs.py HTML

Every link within the site leads to a page and a place that are there, nothing is loaded
from another host, no script complains, and the search finds what it should. As wide as on a desktop
and on a phone, by day and by night, no page is wider than its window, no text is hard to read, and no
picture has other colours (`look.html`). Links to other sites are looked at, not followed.
"""

import html.parser
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from browser import open_page, serve

# What is searched for, and what must be among what is found.
SOUGHT = {
    "perturbation": "api/training.html#fastnn.Perturbation",
    "overfitting": "not-learning.html",
    "dropout": "coming-from.html",
    "normalize": "not-learning.html",
}
AT_ONCE = 8  # pages that one browser looks at


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


def find_looks(address, names):
    """Yield what cannot be read on some pages."""
    text, messages = open_page(f"{address}/look.html?{','.join(names)}")
    found = html.unescape(re.search(r'<pre id="faults">(.*?)</pre>', text, re.DOTALL)[1]).splitlines()
    if found.pop() != f"looked at {len(names)}":
        yield f"{names[0]} and the next {len(names) - 1} took too long to look at"
    yield from found + messages


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
    for k in range(0, len(pages), AT_ONCE):
        faults += find_looks(address, [*pages][k : k + AT_ONCE])
    for sought, found in SOUGHT.items():
        text, messages = open_page(f"{address}/search.html?q={sought}")
        faults += [f"the search: {message}" for message in messages]
        if found not in Page(text[text.index('id="search-results"') :]).links:
            faults.append(f"the search for {sought!r} does not show {found}")
    links = sum(len(page.links) for page in pages.values())
    for fault in faults:
        print(fault)
    print(f"{len(pages)} pages, {links:,} links, {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
