"""A page with a table of any number of rows, sent while it is made."""

from __future__ import annotations

from framework import App, Request, Response
from framework.xhtml import Document


def table(request: Request) -> Response:
    count = int(request.query["rows"])
    page = Document("Rows")
    page.body.add_table(lambda: ((number, "<x>") for number in range(count)), headings=("n", "x"), stream=True)
    return Response.page(page, stream=True)


app = App([("/$", table)])
