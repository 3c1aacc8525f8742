"""Open the published benchmark pages in a headless browser, and see that the graphs are there.

    python .ci/look_asv.py HTML NODE_MODULES

The pages load their scripts from the web. Here the same files come from npm packages, so
that the check needs no web and no browser but Debian's chromium.
"""

import json
import re
import sys
from pathlib import Path

from browser import open_page, serve

# What the pages ask for, by the end of its address, and where npm keeps it.
FILES = {
    "jquery-3.3.1.min.js": "jquery/dist/jquery.min.js",
    "jquery.flot.min.js": "flot/jquery.flot.js",
    "jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "jquery.flot.orderBars.js": "flot-orderbars/js/jquery.flot.orderBars.js",
    "stupidtable.min.js": "stupid-table-plugin/stupidtable.min.js",
    "md5.min.js": "blueimp-md5/js/md5.min.js",
    "bootstrap.min.js": "bootstrap/dist/js/bootstrap.min.js",
    "bootstrap.min.css": "bootstrap/dist/css/bootstrap.min.css",
}


def main(html, node_modules):
    page = (html / "index.html").read_text()
    for address in set(re.findall(r'"(https://[^"]+)"', page)):
        name = address.rsplit("/", 1)[1]
        if name in FILES:
            (html / name).write_bytes((node_modules / FILES[name]).read_bytes())
            page = page.replace(address, name)
    page = re.sub(r' (integrity|crossorigin)="[^"]*"', "", page)
    (html / "index.html").write_text(page)
    site = serve(html)
    names = sorted(json.loads((html / "index.json").read_text())["benchmarks"])
    seen = 0
    for name in [names[0], "gradients.Growth.time_perturbation"]:
        text, _ = open_page(f"{site}/index.html#{name}")
        canvases = len(re.findall(r"<canvas[^>]*flot-base", text))
        print(f"{name}: {len(text):,} characters, {canvases} graphs")
        seen += canvases > 0 and name.split(".")[-1] in text
    return 0 if seen == 2 else 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
