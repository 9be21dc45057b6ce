"""Development mode: each element remembers the line that made it, and a page is checked each time it is written.

What `framework.xhtml.check` finds is told as an `XHTMLWarning` at that line. It costs several times the time of
building a page, so production never imports this module.
"""

from __future__ import annotations

import sys
import warnings

from framework.xhtml.check import check
from framework.xhtml.document import Document
from framework.xhtml.implementation import tree


class XHTMLWarning(UserWarning):
    """Something in a page that the standard does not allow, or that some people could not use."""


def development(on: bool = True) -> None:
    """Switch development mode on or off, for the whole process.

    >>> framework.xhtml.development()
    pages.py:12: XHTMLWarning: <img> has no alt: say what it shows, or alt="" where it is decoration
    """
    tree.record(_caller if on else None)
    Document._before_write = _warn if on else None


def _caller() -> tuple[str, int]:
    """File and line of the nearest frame outside of this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("framework.xhtml"):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _warn(document: Document) -> None:
    for problem in check(document.html):
        file, line = problem.origin or ("<page>", 0)
        warnings.warn_explicit(problem.message, XHTMLWarning, file, line, registry={})
