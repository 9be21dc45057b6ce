"""Pages from Python objects, like a GUI toolkit, never a template.

What is written is always escaped for its context and always well-formed: the same bytes are XHTML and HTML. Names are
imported when first used. Nothing here knows requests or servers.

>>> from framework.xhtml import Document
>>> page = Document(title="Disks")
>>> page.body.add_heading(1, "Disks")
>>> page.body.add_table([("sda", "42 %")], headings=("Disk", "Used"))
>>> str(page)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.xhtml.developing import XHTMLWarning as XHTMLWarning
    from framework.xhtml.developing import development as development
    from framework.xhtml.document import Document as Document
    from framework.xhtml.escape import Trusted as Trusted
    from framework.xhtml.forms import Form as Form
    from framework.xhtml.nodes import Comment as Comment
    from framework.xhtml.nodes import Element as Element
    from framework.xhtml.nodes import Fragment as Fragment
    from framework.xhtml.nodes import Node as Node
    from framework.xhtml.nodes import Streamed as Streamed
    from framework.xhtml.rows import Column as Column
    from framework.xhtml.theme import charts_js as charts_js
    from framework.xhtml.theme import theme_css as theme_css

_HOMES = {
    "Column": "rows",
    "Comment": "nodes",
    "Document": "document",
    "Element": "nodes",
    "Form": "forms",
    "Fragment": "nodes",
    "Node": "nodes",
    "Streamed": "nodes",
    "Trusted": "escape",
    "XHTMLWarning": "developing",
    "charts_js": "theme",
    "development": "developing",
    "theme_css": "theme",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'framework.xhtml' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"framework.xhtml.{home}"), name)
    globals()[name] = value
    return value
