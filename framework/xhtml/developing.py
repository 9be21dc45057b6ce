"""Development mode: each element remembers the line that made it, and a page is checked each time it is written.

What `framework.xhtml.check` finds is told as an `XHTMLWarning` at that line. It costs several times the time of
building a page, so production never imports this module.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

from framework.xhtml.check import check
from framework.xhtml.document import Document
from framework.xhtml.nodes import Element

_init = Element.__init__
_add = Element.add


class XHTMLWarning(UserWarning):
    """Something in a page that the standard does not allow, or that some people could not use."""


def development(on: bool = True) -> None:
    """Switch development mode on or off, for the whole process.

    >>> framework.xhtml.development()
    pages.py:12: XHTMLWarning: <img> has no alt: say what it shows, or alt="" where it is decoration
    """
    setattr(Element, "__init__", _recording_init if on else _init)  # noqa: B010
    setattr(Element, "add", _recording_add if on else _add)  # noqa: B010
    Document._before_write = _warn if on else None


def _recording_init(self: Element, /, *content: Any, **attributes: Any) -> None:
    _init(self, *content, **attributes)
    self.origin = _caller()


def _recording_add(self: Element, /, *content: Any, **attributes: Any) -> Element:
    child = _add(self, *content, **attributes)
    child.origin = _caller()
    return child


def _caller() -> tuple[str, int]:
    """File and line of the nearest frame outside of this package."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("framework.xhtml"):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def _warn(document: Document) -> None:
    for problem in check(document.html):
        file, line = problem.origin or ("<page>", 0)
        warnings.warn_explicit(problem.message, XHTMLWarning, file, line, registry={})
