"""Tree → text. The same bytes are well-formed XML and valid HTML ("polyglot"), whatever the tree holds.

`to_text` and `to_bytes` build the whole; `stream` gives chunks of about `CHUNK_BYTES` and pulls streamed parts while
they are taken. Empty elements are written `<br/>` where HTML has no end tag and `<p></p>` elsewhere. No tree is
changed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from framework.xhtml import escape
from framework.xhtml.escape import REFUSED_URL, Trusted, escape_text
from framework.xhtml.names import (
    ANIMATED_ATTRIBUTES,
    MATHML_NAMESPACE,
    SVG_NAMESPACE,
    TRUE_FALSE_ATTRIBUTES,
    URL_ATTRIBUTES,
    VOID_ELEMENTS,
    XHTML_NAMESPACE,
    attribute_name,
)

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element, Node

CHUNK_BYTES = 16_384
"""About how many bytes `stream` gathers before it yields."""

_KEPT_PREFIXES = 1024
_NAMESPACES = {"html": XHTML_NAMESPACE, "svg": SVG_NAMESPACE, "math": MATHML_NAMESPACE}
_TEXT_ONLY = frozenset(["title", "textarea", "iframe"])
_SPECIAL = VOID_ELEMENTS | _TEXT_ONLY | {"html", "svg", "math", "script", "style", "pre"}
_IMAGES = frozenset(["img", "image", "input", "source", "feImage", "video"])
_REFRESH = re.compile(r"([\s\d.]*[;,\s]*(?:url\s*=\s*)?['\"]?)(.*)", re.IGNORECASE | re.DOTALL)
_prefixes: dict[str, str] = {}

plain: Any = None
"""`Element` itself, without its subclasses; `framework.xhtml.nodes`, which imports this module, says it."""


def _is_special(name: str) -> bool:
    return (
        name in URL_ATTRIBUTES
        or name in ANIMATED_ATTRIBUTES
        or name in TRUE_FALSE_ATTRIBUTES
        or name.startswith(("on", "aria-"))
        or name in ("style", "srcdoc", "content")
    )


def _prefix(name: str) -> str | None:
    """` name="` for an ordinary attribute, remembered; None where its value needs a closer look. ValueError for no
    name.
    """
    if attribute_name(name) != name:
        raise ValueError(f"{name!r} is not how an attribute is written; write {attribute_name(name)!r}")
    if _is_special(name):
        return None
    prefix = f' {name}="'
    if len(_prefixes) < _KEPT_PREFIXES:
        _prefixes[name] = prefix
    return prefix


def attribute_text(element: Element) -> str:
    """The attributes of an element as they stand in its start tag, each after a space."""
    text = ""
    for name, value in (element._attributes or {}).items():
        if value is None:
            continue
        prefix = _prefixes.get(name) or _prefix(name)
        if prefix is None:
            text += _special_attribute(element, name, value)
        elif type(value) is str:
            text += f'{prefix}{escape.attribute(value)}"'
        elif value is True:
            text += f'{prefix}"'
        elif value is not False:
            text += f'{prefix}{escape.attribute(value_text(value))}"'
    return text


def value_text(value: Any) -> str:
    """A value that is not a plain text, as the text of an attribute."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Enum):
        return value_text(value.value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return " ".join(value_text(item) for item in value if item is not None and item is not False)
    if isinstance(value, (bytes, bytearray, dict)):
        raise TypeError(f"{type(value).__name__} cannot be the value of an attribute: {value!r:.60}")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)


def _special_attribute(element: Element, name: str, value: Any) -> str:
    tag = element.tag
    if name in TRUE_FALSE_ATTRIBUTES or name.startswith("aria-"):
        text = str(value).lower() if isinstance(value, bool) else value_text(value)
    elif value is False:
        return ""
    elif name.startswith("on") or name == "srcdoc":
        text = _code(tag, name, value)
    elif value is True:
        text = ""
    elif name == "style" and isinstance(value, dict):
        text = "; ".join(
            f"{key.replace('_', '-')}: {value_text(item)}" for key, item in value.items() if item is not None
        )
    elif name in URL_ATTRIBUTES:
        text = _url(tag, name, value)
    elif name in ANIMATED_ATTRIBUTES and tag in ("animate", "set"):
        text = ";".join(escape.url(part) for part in value_text(value).split(";"))
    elif name == "content" and tag == "meta" and str(element.get("http-equiv", "")).strip().lower() == "refresh":
        text = _refresh(value_text(value))
    else:
        text = value_text(value)
    return f' {name}="{escape.attribute(text)}"'


def _url(tag: str, name: str, value: Any) -> str:
    text = value if isinstance(value, str) else value_text(value)
    checked = escape.url(text, image=tag in _IMAGES and name in ("src", "href", "poster"))
    return value_text(checked)


def _refresh(text: str) -> str:
    """The content of a refresh: seconds, and maybe a URL (HTML §4.2.5.3); a script there is refused."""
    found = _REFRESH.match(text)
    if found is not None and escape.url(found[2]) is REFUSED_URL:
        return f"{found[1]}{REFUSED_URL}"
    return text


def _code(tag: str, name: str, value: Any) -> str:
    from framework.xhtml.nodes import Node

    if isinstance(value, (Trusted, Node)):
        return str(value)
    raise ValueError(
        f'<{tag} {name}="…"> runs what it holds as code: add the listener in a script module, '
        "or wrap code that you wrote in framework.xhtml.Trusted"
    )


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


def write(element: Element, append: Callable[[str], None]) -> None:
    """Write an element and all that is in it."""
    tag = element.tag
    if tag in _SPECIAL:
        start, content, end = tags_of(element)
        append(start)
        if content is None:
            write_children(element, append)
        else:
            append(content)
        append(end)
        return
    attributes = attribute_text(element) if element._attributes else ""
    children = element._children
    if len(children) == 1 and type(children[0]) is str:
        append(f"<{tag}{attributes}>{escape_text(children[0])}</{tag}>")
        return
    append(f"<{tag}{attributes}>")
    if tag == "foreignObject":
        _write_foreign_content(element, append)
    elif children:
        write_children(element, append)
    append(f"</{tag}>")


def write_children(element: Element, append: Callable[[str], None]) -> None:
    """Write what is in an element, without its own tags."""
    child: Any
    for child in element._children:
        if type(child) is str:
            append(escape_text(child))
            continue
        # PERF: a plain element with one text, as most are, is written here without a call (bench/xhtml.py).
        if type(child) is plain and not child._attributes:
            children = child._children
            if len(children) == 1 and type(text := children[0]) is str and (tag := child.tag) not in _SPECIAL:
                append(f"<{tag}>{escape_text(text)}</{tag}>")
                continue
        child._write(append)


def _write_foreign_content(element: Element, append: Callable[[str], None]) -> None:
    """XHTML within SVG: each top element says its namespace, which HTML permits."""
    for child in element._children:
        if isinstance(child, str):
            append(escape_text(child))
            continue
        parts: list[str] = []
        child._write(parts.append)
        tag = getattr(child, "tag", None)
        text = "".join(parts)
        if tag is not None and tag not in _NAMESPACES:
            text = f'<{tag} xmlns="{XHTML_NAMESPACE}"{text[len(tag) + 1 :]}'
        append(text)


def to_text(node: Node) -> str:
    """The whole text."""
    parts: list[str] = []
    try:
        node._write(parts.append)
    except RecursionError:
        parts = list(_pieces(node))
    return escape.cleaned("".join(parts))


def to_bytes(node: Node) -> bytes:
    """The whole text as UTF-8."""
    parts: list[str] = []
    try:
        node._write(parts.append)
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
            child._write(parts.append)
            yield "".join(parts)
        elif child.tag in _SPECIAL:
            start, content, end = tags_of(child)
            yield start
            stack.append((child._parts() if content is None else iter(()), (content or "") + end))
        else:
            yield f"<{child.tag}{attribute_text(child)}>"
            stack.append((child._parts(), f"</{child.tag}>"))
