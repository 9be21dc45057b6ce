"""The smallest back end: a page, and a function that the page calls. Run it by `sitectl dev examples/hello`."""

import os

from framework import App, Request
from framework.rpc import Proxy
from framework.xhtml import Document


def load() -> float:
    return round(os.getloadavg()[0], 2)


def index(request: Request) -> Document:
    page = Document(title="Load")
    page.body.add_heading(1, "Processes that ran or waited in the last minute")
    page.body.add("output", load(), id="load")
    page.head.add_script_module("/static/load.mjs")
    return page


app = App([(r"/$", index), (r"/rpc$", Proxy([load]))])
