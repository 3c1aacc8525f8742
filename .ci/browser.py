"""A folder of pages in Debian's chromium, headless."""

import functools
import http.server
import re
import subprocess
import threading
from pathlib import Path

LOOK = Path(__file__).with_name("look.html")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path):  # one page besides, which looks at the others
        return str(LOOK) if path.partition("?")[0] == f"/{LOOK.name}" else super().translate_path(path)

    def log_message(self, *_):
        pass


def serve(folder):
    """Return the address that the folder is served at, for as long as this process lives."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def open_page(address):
    """Return the page as it is when its scripts have run, and what they and the browser said on the console."""
    browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    command = [*browser, "--enable-logging=stderr", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if re.search(r"\bCONSOLE\b", line)]
