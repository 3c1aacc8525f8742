"""Open the published benchmark pages in a headless browser, and see that the graphs are there.

    python .ci/look.py HTML NODE_MODULES

The pages load their scripts from the web. Here the same files come from npm packages, so
that the check needs no web and no browser but Debian's chromium.
"""

import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main(html, node_modules):
    page = (html / "index.html").read_text()
    for address in set(re.findall(r'"(https://[^"]+)"', page)):
        name = address.rsplit("/", 1)[1]
        if name in FILES:
            (html / name).write_bytes((node_modules / FILES[name]).read_bytes())
            page = page.replace(address, name)
    page = re.sub(r' (integrity|crossorigin)="[^"]*"', "", page)
    (html / "index.html").write_text(page)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    names = sorted(json.loads((html / "index.json").read_text())["benchmarks"])
    seen = 0
    browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    for name in [names[0], "gradients.Growth.time_perturbation"]:
        command = [*browser, "--dump-dom", f"http://127.0.0.1:{server.server_port}/index.html#{name}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        canvases = len(re.findall(r"<canvas[^>]*flot-base", done.stdout))
        print(f"{name}: {len(done.stdout):,} characters, {canvases} graphs")
        seen += canvases > 0 and name.split(".")[-1] in done.stdout
    return 0 if seen == 2 else 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:3])))
