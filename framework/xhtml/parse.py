"""Text → tree: XHTML by expat (of the standard library), HTML by justhtml (extra `html`), both imported when first
used.

What comes out is an ordinary tree, to be searched, changed and written. Scripts and `on…` attributes are left out
unless the text is trusted. Every input has limits. Nothing is fetched, no entity is declared.

>>> from framework.xhtml.parse import parse_fragment
>>> page.body.append(parse_fragment("<p>Hello <b>world</b></p>"))
"""

from __future__ import annotations

import html as entities
import re
from typing import Any

from framework.xhtml.document import Document, Head, Root
from framework.xhtml.escape import Trusted
from framework.xhtml.names import MATHML_NAMESPACE, SVG_NAMESPACE, XHTML_NAMESPACE, attribute_name
from framework.xhtml.nodes import Comment, Element, Fragment, Node

MAX_BYTES = 10_000_000
"""Longest text that is parsed, in bytes of UTF-8."""

MAX_DEPTH = 500
"""Deepest nesting of elements."""

MAX_NODES = 500_000
"""Most elements, texts and comments."""

_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_XLINK_NAMESPACE = "http://www.w3.org/1999/xlink"
_NAMESPACES = ("", XHTML_NAMESPACE, SVG_NAMESPACE, MATHML_NAMESPACE)
_CDATA = {
    "script": re.compile(r"//(?:<!\[CDATA\[)?\n(.*)\n//(?:\]\]>)?\Z", re.DOTALL),
    "style": re.compile(r"/\*(?:<!\[CDATA\[)?\*/\n(.*)\n/\*(?:\]\]>)?\*/\Z", re.DOTALL),
}


class ParseError(ValueError):
    """The text is not well-formed, too long, too deep, or uses what a tree cannot hold. The message says where."""


def parse_document(text: str | bytes, *, form: str = "xhtml", trusted: bool = False) -> Document:
    """A whole page from its text.

    form: `xhtml` (must be well-formed) or `html` (anything). trusted: True keeps scripts and `on…` attributes. Raises
    `ParseError`.

    >>> page = parse_document(Path("page.xhtml").read_bytes())
    >>> page.find("table").add_class("wide")
    """
    builder = _Builder(trusted)
    _read(text, form, builder, fragment=False, sanitize=False)
    html = next((child for child in builder.top.elements if child.tag == "html"), None)
    if html is None:
        raise ParseError("the text holds no <html> element")
    document = object.__new__(Document)
    document.html = Root("html")
    document.html.get_url, document.html.forms = None, 0
    document.html.attributes.update(html.attributes)
    document.head, document.body = Head("head"), Element("body")
    document.head.nonce = None
    document.html.append(document.head, document.body)
    for part, tag in ((document.head, "head"), (document.body, "body")):
        found = next((child for child in html.elements if child.tag == tag), None)
        if found is not None:
            part.attributes.update(found.attributes)
            part.append(*found.children)
    document.html.forms = sum(element.tag == "form" for element in document.html.walk())
    return document


def parse_fragment(
    text: str | bytes, *, form: str = "xhtml", trusted: bool = False, sanitize: bool = False
) -> Fragment:
    """A part of a page from its text.

    form, trusted: as for `parse_document`. sanitize: for rich text that a user wrote, with form `html`: keeps only
    elements and attributes that are known to be harmless, by justhtml's policy.
    """
    builder = _Builder(trusted)
    if form == "xhtml":
        if sanitize:
            raise ValueError("sanitize needs form='html'")
        _read(_bytes(text), form, builder, fragment=True, sanitize=False)
    else:
        _read(text, form, builder, fragment=True, sanitize=sanitize)
    return builder.top


def _bytes(text: str | bytes) -> bytes:
    try:
        data = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise ParseError(f"the text holds a lone surrogate at character {error.start}") from None
    if len(data) > MAX_BYTES:
        raise ParseError(f"the text is {len(data)} bytes long; at most {MAX_BYTES} are parsed")
    return data


def _read(text: str | bytes, form: str, builder: _Builder, *, fragment: bool, sanitize: bool) -> None:
    data = _bytes(text)
    if form == "xhtml":
        _read_xhtml(data, builder, fragment)
    elif form == "html":
        _read_html(data, builder, fragment, sanitize)
    else:
        raise ValueError(f"the form of a text is 'xhtml' or 'html', not {form!r}")


class _Builder:
    """Makes the tree from what a parser meets."""

    def __init__(self, trusted: bool) -> None:
        self.top = Fragment()
        self.trusted = trusted
        self.stack: list[Element] = [self.top]
        self.children: list[list[str | Node]] = [[]]
        self.nodes = 0
        self.skipped = 0
        self.lost_behind_marker = ""

    def count(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise ParseError(f"the text holds more than {MAX_NODES} nodes")

    def start(self, namespace: str, tag: str, attributes: list[tuple[str, str, str]]) -> None:
        self.count()
        if self.skipped or (tag.lower() == "script" and not self.trusted):
            self.skipped += 1
            return
        if len(self.stack) > MAX_DEPTH:
            raise ParseError(f"elements are nested deeper than {MAX_DEPTH}")
        if namespace not in _NAMESPACES:
            raise ParseError(f"<{tag}> is of the namespace {namespace!r:.100}, which a page does not hold")
        try:
            element = Element(tag)
        except ValueError as error:
            raise ParseError(str(error)) from None
        for space, name, value in attributes:
            self.attribute(element, space, name, value)
        self.stack.append(element)
        self.children.append([])

    def attribute(self, element: Element, namespace: str, name: str, value: str) -> None:
        if namespace == _XML_NAMESPACE:
            name = f"xml:{name}"
        elif namespace == _XLINK_NAMESPACE and name == "href":
            if "href" in element.attributes:
                return
        elif namespace or name.startswith("xmlns"):
            return
        try:
            if attribute_name(name) != name:
                return
        except ValueError:
            return
        if name.lower().startswith("on") or name == "srcdoc":
            if self.trusted:
                element.attributes[name] = Trusted(value)
            return
        element.attributes[name] = Trusted(value) if self.trusted and ":" in value else value

    def end(self) -> None:
        if self.skipped:
            self.skipped -= 1
            return
        element, children = self.stack.pop(), self.children.pop()
        wrapped = _CDATA.get(element.tag)
        if wrapped is not None and all(isinstance(child, str) for child in children):
            found = wrapped.match("".join(map(str, children)))
            if found is not None:
                children = [found[1]]
        element.append(*children)
        self.children[-1].append(element)

    def text(self, text: str) -> None:
        if self.skipped:
            return
        children = self.children[-1]
        if children and isinstance(children[-1], str):
            children[-1] += text
        else:
            self.count()
            children.append(text)

    def comment(self, text: str) -> None:
        self.count()
        if self.skipped:
            return
        if not text and self.stack[-1].tag == "pre" and not self.children[-1]:  # see serialise.tags_of
            self.text(self.lost_behind_marker)
        else:
            self.children[-1].append(Comment(entities.unescape(text.strip())))

    def finish(self) -> None:
        self.top.append(*self.children[0])


def _read_xhtml(data: bytes, builder: _Builder, fragment: bool) -> None:
    from xml.parsers import expat

    parser = expat.ParserCreate("utf-8", namespace_separator=" ")
    parser.buffer_text = True
    depth = 0
    shift = 0

    def refuse(*_: Any) -> None:
        raise ParseError("a document type may not declare anything")

    def split(name: str) -> tuple[str, str]:
        namespace, _, local = name.rpartition(" ")
        return namespace, local

    def start(name: str, attributes: list[str]) -> None:
        nonlocal depth
        depth += 1
        if fragment and depth == 1:
            return
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        builder.start(*split(name), [(*split(key), value) for key, value in pairs])

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1
        if not fragment or depth:
            builder.end()

    parser.ordered_attributes = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: builder.text(text) if depth else None
    parser.CommentHandler = lambda text: builder.comment(text) if depth else None
    parser.EntityDeclHandler = refuse
    parser.ElementDeclHandler = refuse
    parser.AttlistDeclHandler = refuse
    parser.NotationDeclHandler = refuse
    if fragment:
        opening = f'<div xmlns="{XHTML_NAMESPACE}">'.encode()
        data, shift = opening + data + b"</div>", len(opening)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        column = error.offset - (shift if error.lineno == 1 else 0)
        raise ParseError(f"line {error.lineno}, column {max(0, column) + 1}: {expat.ErrorString(error.code)}") from None
    builder.finish()


def _read_html(data: bytes, builder: _Builder, fragment: bool, sanitize: bool) -> None:
    try:
        from justhtml import JustHTML
    except ImportError:
        raise ImportError("parsing HTML needs justhtml: pip install 'fastcore-fcgi[html]'") from None

    text = data.decode("utf-8", "replace")
    if b"<!---->" in data and not JustHTML("<pre><!---->\n</pre>", fragment=True).to_text(strip=False):
        # justhtml 3.16 drops a line break there, too; HTML §13.2.6.4.7 only one right behind the tag.
        builder.lost_behind_marker = "\n"
    tree = JustHTML(text, sanitize=sanitize, fragment=fragment)
    # Depth first, without recursion: each entry is a node, or None for the end of an element.
    stack: list[Any] = [*reversed(tree.root.children or ())]
    while stack:
        node = stack.pop()
        if node is None:
            builder.end()
        elif node.name == "#text":
            builder.text(node.data or "")
        elif node.name == "#comment":
            builder.comment(node.data or "")
        elif not node.name.startswith(("!", "?", "#")):
            namespace = {"svg": SVG_NAMESPACE, "math": MATHML_NAMESPACE}.get(node.namespace or "", XHTML_NAMESPACE)
            attributes = [("", name, value or "") for name, value in (node.attrs or {}).items()]
            try:
                builder.start(namespace, node.name, attributes)
            except ParseError:
                if builder.nodes > MAX_NODES or len(builder.stack) > MAX_DEPTH:
                    raise
                builder.start(namespace, "span", [])  # an element that XHTML cannot name: its content is kept
            inside = getattr(node, "template_content", None) or node
            stack.append(None)
            stack.extend(reversed(inside.children or ()))
    builder.finish()
