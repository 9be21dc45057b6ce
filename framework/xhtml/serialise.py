"""Tree → text. The same bytes are well-formed XML and valid HTML ("polyglot"), whatever the tree holds.

`to_text` and `to_bytes` build the whole; `stream` gives chunks of about `CHUNK_BYTES` and pulls streamed parts while
they are taken. Empty elements are written `<br/>` where HTML has no end tag and `<p></p>` elsewhere. No tree is
changed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from framework.xhtml import escape
from framework.xhtml.escape import escape_text
from framework.xhtml.implementation import tree
from framework.xhtml.names import MATHML_NAMESPACE, SPECIAL_ELEMENTS, SVG_NAMESPACE, VOID_ELEMENTS, XHTML_NAMESPACE

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element, Node

CHUNK_BYTES = 16_384
"""About how many bytes `stream` gathers before it yields."""

_NAMESPACES = {"html": XHTML_NAMESPACE, "svg": SVG_NAMESPACE, "math": MATHML_NAMESPACE}
_TEXT_ONLY = frozenset(["title", "textarea", "iframe"])

attribute_text = tree.attribute_text


def tags_of(element: Element) -> tuple[str, str | None, str]:
    """Start tag, content (None: the children), end tag of an element that HTML treats in a way of its own."""
    tag = element.tag
    attributes = attribute_text(element) if element._attributes else ""
    if tag in VOID_ELEMENTS:
        if element._children:
            raise ValueError(f"<{tag}> has no content: {element._children[0]!r:.60} cannot stand in it")
        return f"<{tag}{attributes}/>", "", ""
    if tag in _NAMESPACES:
        return f'<{tag} xmlns="{_NAMESPACES[tag]}"{attributes}>', None, f"</{tag}>"
    if tag in ("script", "style") and not _in_foreign(element):
        return f"<{tag}{attributes}>", _raw_text(element), f"</{tag}>"
    start, end = f"<{tag}{attributes}>", f"</{tag}>"
    if tag in _TEXT_ONLY and not _in_foreign(element):
        return start, _escaped_text(element), end
    if tag == "pre" and _begins_with_line_end(element._children):
        # An HTML parser drops a line break right behind this tag (HTML §13.2.6.4.7); XML keeps it.
        start += "<!---->"
    return start, None, end


def _begins_with_line_end(children: Sequence[str | Node]) -> bool:
    first = next((child for child in children if child != ""), "")
    return isinstance(first, str) and first[:1] in ("\n", "\r")


def _escaped_text(element: Element) -> str:
    """The content of an element in which an HTML parser sees text alone; comments are left out."""
    from framework.xhtml.nodes import Element as AnyElement

    if element.tag == "iframe" and element._children:
        raise ValueError("<iframe> has no content; use src, or srcdoc with an element")
    for child in element._children:
        if isinstance(child, AnyElement):
            raise ValueError(f"<{element.tag}> holds text only, not <{child.tag}>")
    text = element.text
    if element.tag == "textarea" and _begins_with_line_end([text]):
        # As in <pre>; the field's value is the same, since a browser makes "\n" of "\r" in it.
        return "&#13;" + escape_text(text.replace("\r\n", "\n")[1:])
    return escape_text(text)


def _in_foreign(element: Element) -> bool:
    node = element.parent
    while node is not None:
        if node.tag == "foreignObject":
            return False
        if node.tag in ("svg", "math"):
            return True
        node = node.parent
    return False


def _raw_text(element: Element) -> str:
    if not all(isinstance(child, str) for child in element._children):
        raise ValueError(f"<{element.tag}> holds text only")
    text = element.text
    if element.tag == "style":
        return escape.style(text)
    if "json" in str(element.get("type", "")):
        return text if not set("<>&") & set(text) else escape.json_data(_parsed_json(text))
    return escape.script(text)


def _parsed_json(text: str) -> Any:
    import json

    return json.loads(text)


def write_foreign_content(element: Element, parts: list[str]) -> None:
    """XHTML within SVG: each top element says its namespace, which HTML permits."""
    for child in element._children:
        if isinstance(child, str):
            parts.append(escape_text(child))
            continue
        inside: list[str] = []
        child._write(inside)
        tag = getattr(child, "tag", None)
        text = "".join(inside)
        if tag is not None and tag not in _NAMESPACES:
            text = f'<{tag} xmlns="{XHTML_NAMESPACE}"{text[len(tag) + 1 :]}'
        parts.append(text)


def to_text(node: Node) -> str:
    """The whole text."""
    parts: list[str] = []
    try:
        node._write(parts)
    except RecursionError:
        parts = list(_pieces(node))
    return escape.cleaned("".join(parts))


def to_bytes(node: Node) -> bytes:
    """The whole text as UTF-8."""
    parts: list[str] = []
    try:
        node._write(parts)
    except RecursionError:
        parts = list(_pieces(node))
    return escape.encode("".join(parts))


def stream(node: Node, start: str = "") -> Iterator[bytes]:
    """The text as UTF-8 chunks; memory holds one chunk, however much a `Streamed` part yields.

    start: text in front of the first chunk, already escaped.
    """
    parts = [start]
    size = 0
    for piece in _pieces(node):
        parts.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield escape.encode("".join(parts))
            parts, size = [], 0
    yield escape.encode("".join(parts))


def _pieces(node: Node) -> Iterator[str]:
    """The text piece by piece, without recursion and without keeping what is streamed."""
    from framework.xhtml.nodes import Element, Fragment, Streamed

    stack: list[tuple[Iterator[str | Node], str]] = [(iter((node,)), "")]
    while stack:
        children, end = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield end
        elif isinstance(child, str):
            yield escape_text(child)
        elif isinstance(child, (Streamed, Fragment)):
            stack.append((child._parts(), ""))
        elif not isinstance(child, Element) or child.tag == "foreignObject":
            parts: list[str] = []
            child._write(parts)
            yield "".join(parts)
        elif child.tag in SPECIAL_ELEMENTS:
            start, content, end = tags_of(child)
            yield start
            stack.append((child._parts() if content is None else iter(()), (content or "") + end))
        else:
            yield f"<{child.tag}{attribute_text(child)}>"
            stack.append((child._parts(), f"</{child.tag}>"))
