"""A whole page: doctype, head, body, in one text that is valid as XHTML and as HTML.

`Document` is what a handler returns; it keeps the page protocol: `encode()`, `media_types`, and iteration for
streaming. The tree itself is in `framework.xhtml.nodes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from framework.xhtml import escape, serialise
from framework.xhtml.nodes import Comment, Content, Element

if TYPE_CHECKING:
    from framework.xhtml.check import Problem

DOCTYPE = "<!DOCTYPE html>\n"
XHTML_FIRST = ("application/xhtml+xml", "text/html")
HTML_FIRST = ("text/html", "application/xhtml+xml", "text/html")


class Root(Element):
    """The <html> element; knows how its document finds URLs."""

    __slots__ = ("forms", "get_url")

    get_url: Callable[..., str] | None
    forms: int

    def _copy_into(self, copy: Element) -> None:
        super()._copy_into(copy)
        if isinstance(copy, Root):
            copy.get_url, copy.forms = self.get_url, self.forms


class Head(Element):
    """The <head> element, with a method for each thing that belongs there."""

    __slots__ = ("nonce",)

    nonce: str | None

    def _copy_into(self, copy: Element) -> None:
        super()._copy_into(copy)
        if isinstance(copy, Head):
            copy.nonce = self.nonce

    def set_title(self, title: str) -> Element:
        """Set the page's title, in place of the one before."""
        element = self.find("title") or self.add("title")
        element.text = title
        return element

    def add_meta(self, name: str, content: str, **attributes: Any) -> Element:
        """Append `<meta name="…" content="…"/>`."""
        return self.add("meta", name=name, content=content, **attributes)

    def add_stylesheet(self, href: str, *, media: str | None = None, **attributes: Any) -> Element:
        """Append a link to a style sheet. media: for which it is, e.g. `print`."""
        return self.add("link", rel="stylesheet", href=href, media=media, **attributes)

    def add_style(self, rules: str, **attributes: Any) -> Element:
        """Append style rules that the programmer wrote; with the document's nonce, if it has one."""
        return self.add("style", rules, **{"nonce": self.nonce, **attributes})

    def add_script_module(self, src: str, **attributes: Any) -> Element:
        """Append an ES module by its URL; a browser runs it once the page is there. It makes the page HTML first; see
        `Document.media_types`."""
        return self.add("script", type="module", src=src, **attributes)

    def add_script(self, text: str = "", *, src: str | None = None, module: bool = False, **attributes: Any) -> Element:
        """Append a script: by its URL (deferred), or its text, which the programmer wrote; with the document's nonce,
        if any.
        """
        if src is not None:
            return self.add("script", src=src, type="module" if module else None, defer=not module, **attributes)
        return self.add("script", text, type="module" if module else None, **{"nonce": self.nonce, **attributes})

    def add_data(self, id: str, value: Any) -> Element:
        """Append data for scripts as JSON: `JSON.parse(document.getElementById(id).textContent)`.

        Any text in it is harmless. A content security policy needs no exception for it.
        """
        return self.add("script", escape.json_data(value), type="application/json", id=id)

    def add_icon(self, href: str, *, type: str | None = None, sizes: str | None = None) -> Element:
        """Append the page's icon."""
        return self.add("link", rel="icon", href=href, type=type, sizes=sizes)

    def add_module_preload(self, href: str) -> Element:
        """Append a hint that a module will be needed."""
        return self.add("link", rel="modulepreload", href=href)

    def add_theme(self, href: str | None = None) -> Element:
        """Append the framework's own style sheet: by the URL where the site serves it, or in the page itself (with
        the nonce).
        """
        if href is not None:
            return self.add_stylesheet(href)
        from framework.xhtml.theme import theme_css

        return self.add_style(theme_css())


class Document:
    """A page.

    title: shown by the browser. lang: the language, BCP 47. description: for search engines and previews. nonce: for
    inline scripts and styles under a content security policy. get_url: `request.get_url`, so that links and forms can
    be given handlers. attributes: those of the <html> element.

    >>> page = Document(title="Disks")
    >>> page.body.add_heading(1, "Disks")
    >>> page.body.add_table([("sda", "42 %")], headings=("Disk", "Used"))
    >>> str(page)
    '<!DOCTYPE html>…'
    """

    __slots__ = ("__weakref__", "body", "head", "html")

    _before_write: ClassVar[Callable[[Document], None] | None] = None
    """In development, what looks at the page before it is written."""

    def __init__(
        self,
        title: str = "",
        lang: str = "en",
        *,
        description: str | None = None,
        nonce: str | None = None,
        get_url: Callable[..., str] | None = None,
        **attributes: Any,
    ) -> None:
        self.html = Root("html", lang=lang, **attributes)
        self.html.get_url, self.html.forms = get_url, 0
        self.head = Head("head")
        self.head.nonce = nonce
        self.body = Element("body")
        self.html.append(self.head, self.body)
        self.head.add("meta", charset="utf-8")
        self.head.add("title", title)
        self.head.add("meta", name="viewport", content="width=device-width, initial-scale=1")
        if description is not None:
            self.head.add_meta("description", description)

    @property
    def media_types(self) -> tuple[str, ...]:
        """The types it can be served as, the better first, the one for everybody last; the bytes are the same.

        A page with a module script among the children of <head> or <body> is HTML first: Chromium runs no module in an
        XML document (crbug.com/717643).
        """
        for part in (self.head, self.body):
            for child in part._children:
                if isinstance(child, Element) and child.tag == "script" and child.get("type") == "module":
                    return HTML_FIRST
        return XHTML_FIRST

    @property
    def title(self) -> str:
        """The page's title."""
        element = self.head.find("title")
        return "" if element is None else element.text

    @title.setter
    def title(self, title: str) -> None:
        self.head.set_title(title)

    @property
    def lang(self) -> str:
        """The page's language."""
        return str(self.html.get("lang", ""))

    def __repr__(self) -> str:
        return f"<Document {self.title!r}>"

    def check(self) -> list[Problem]:
        """What is wrong with the page; see `framework.xhtml.check`."""
        from framework.xhtml.check import check

        return check(self.html)

    def _look(self) -> None:
        before_write = type(self)._before_write
        if before_write is not None:
            before_write(self)

    def __str__(self) -> str:
        self._look()
        return f"{DOCTYPE}{self.html}"

    def encode(self) -> bytes:
        """The page as UTF-8 bytes, for either media type."""
        self._look()
        return DOCTYPE.encode() + self.html.encode()

    def __iter__(self) -> Iterator[bytes]:
        """The page in chunks of UTF-8, made while they are taken; see `Streamed`."""
        self._look()
        return serialise.stream(self.html, DOCTYPE)

    def by_id(self, id: str) -> Element | None:
        """The element that has the id, or None."""
        return self.html.by_id(id)

    def find(self, selector: str) -> Element | None:
        """The first element that a selector matches, or None."""
        return self.html.find(selector)

    def find_all(self, selector: str) -> list[Element]:
        """All elements that a selector matches, in document order."""
        return self.html.find_all(selector)

    def walk(self) -> Iterator[Element]:
        """All elements, in document order."""
        return self.html.walk()

    def clone(self) -> Document:
        """A deep copy."""
        copy = object.__new__(type(self))
        html = self.html.clone()
        if not isinstance(html, Root):
            raise TypeError("the root of a document was replaced")
        copy.html = html
        for child in html.elements:
            if isinstance(child, Head):
                copy.head = child
            elif child.tag == "body":
                copy.body = child
        return copy

    def add_comment(self, text: str) -> Comment:
        """Append a comment to the body."""
        return self.body.add_comment(text)

    def append(self, *content: Content) -> Document:
        """Append content to the body; returns the document."""
        self.body.append(*content)
        return self
