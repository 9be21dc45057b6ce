"""The working part of the tree: what a node holds, adding, and writing in one go. No searching, no streaming here.

A node has at most one parent, held weakly; its children are exact `str`, raw, and nodes. `framework.xhtml.nodes` makes
the public classes of these and says them to `bind`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import ref

from framework.xhtml.attributes import prefix_of, prefixes, special_attribute, value_text
from framework.xhtml.escape import attribute, escape_text
from framework.xhtml.names import KNOWN_ELEMENTS, SPECIAL_ELEMENTS, attribute_name, check_tag

if TYPE_CHECKING:
    from typing import Self

    from framework.xhtml.nodes import Element

_plain: Any = None
_fragment: Any = None
_tags_of: Any = None
_write_foreign: Any = None
_recorder: Callable[[], tuple[str, int]] | None = None
_names: dict[str, str] = {}
_KEPT_NAMES = 1024


def bind(
    element: type[Branch],
    fragment: type[Branch],
    tags_of: Callable[[Any], tuple[str, str | None, str]],
    write_foreign: Callable[[Any, list[str]], None],
) -> None:
    """Say what the tree is made of: `Element` and `Fragment`, and what writes the elements that are out of the
    ordinary.
    """
    global _plain, _fragment, _tags_of, _write_foreign
    _plain, _fragment, _tags_of, _write_foreign = element, fragment, tags_of, write_foreign


def record(recorder: Callable[[], tuple[str, int]] | None) -> None:
    """Say what gives each new element its `origin`, or None: nobody remembers it."""
    global _recorder
    _recorder = recorder


def flatten(content: Any, into: list[Any]) -> None:
    """Append content to a list of texts and nodes. TypeError for what is no content (bytes, a dict)."""
    fragments: list[Any] = []
    _flatten(content, into, fragments)
    for fragment in fragments:
        fragment.release()


def _flatten(content: Any, into: list[Any], fragments: list[Any]) -> None:
    """The same, except that the fragments whose content it is are still to be emptied."""
    if content is None or content is True or content is False:
        return
    if isinstance(content, str):
        into.append(content if type(content) is str else str.__str__(content))
    elif isinstance(content, Base):
        if isinstance(content, _fragment):
            if not any(content is fragment for fragment in fragments):
                into.extend(content._children)
                fragments.append(content)
        else:
            into.append(content)
    elif type(content) is list or type(content) is tuple:
        for item in content:
            _flatten(item, into, fragments)
    elif hasattr(content, "__xhtml__"):
        _flatten(content.__xhtml__(), into, fragments)
    elif isinstance(content, (bytes, bytearray, memoryview)):
        raise TypeError(f"bytes are no text: decode them first ({bytes(content[:20])!r})")
    elif isinstance(content, dict):
        raise TypeError("a dict is no content; use add_definition_list() or add_table()")
    elif isinstance(content, Iterable) and not _has_text(type(content)):
        for item in content:
            _flatten(item, into, fragments)
    else:
        into.append(str.__str__(str(content)))  # __str__ may give a subclass


def _has_text(kind: Any) -> bool:
    """Whether a type says how it is shown (an IP network does, a list does not)."""
    return kind.__str__ is not object.__str__


class Base:
    """What every node has: a weak reference to its parent, or None."""

    __slots__ = ("__weakref__", "_parent")

    _parent: ref[Any] | None


class Branch(Base):
    """What every element has: tag, attributes, children; see `framework.xhtml.nodes.Element`."""

    __slots__ = ("_attributes", "_children", "tag")

    tag: str
    _attributes: dict[str, Any] | None
    _children: list[Any] | tuple[Any, ...]

    def __init__(self, tag: str, /, *content: Any, **attributes: Any) -> None:
        _begin(self, tag, content, attributes)

    def add(self, tag: str, /, *content: Any, **attributes: Any) -> Element:
        """Make an element as `Element(tag, *content, **attributes)` does, append it, and return it."""
        # PERF: what _begin does is repeated here, without its call: a quarter of the time (bench/xhtml.py).
        if tag not in KNOWN_ELEMENTS:
            check_tag(tag)
        child = _plain.__new__(_plain)
        child.tag = tag
        child._attributes = _named(attributes) if attributes else None
        child._parent = ref(self)
        if not content or (len(content) == 1 and type(content[0]) is str):
            child._children = content
        else:
            child._children = ()
            _insert(child, 0, content)
        children = self._children
        if type(children) is list:
            children.append(child)
        else:
            self._children = [*children, child]
        if _recorder is not None:
            child.origin = _recorder()
        return child  # type: ignore[no-any-return]

    def append(self, *content: Any) -> Self:
        """Add content behind the last child; returns this element."""
        _insert(self, len(self._children), content)
        return self

    def insert(self, index: int, *content: Any) -> Self:
        """Add content at a position among the children. A node that stands elsewhere moves here.

        Raises ValueError where a node would come to stand within itself, or is given twice.
        """
        _insert(self, slice(index, None).indices(len(self._children))[0], content)
        return self

    def _write(self, parts: list[str]) -> None:
        """Append the text of this element, and of all that is in it, to a list."""
        tag = self.tag
        if tag in SPECIAL_ELEMENTS:
            start, content, end = _tags_of(self)
            parts.append(start)
            if content is None:
                write_children(self, parts)
            else:
                parts.append(content)
            parts.append(end)
            return
        attributes = attribute_text(self) if self._attributes else ""
        children = self._children
        if len(children) == 1 and type(children[0]) is str and tag != "foreignObject":
            parts.append(f"<{tag}{attributes}>{escape_text(children[0])}</{tag}>")
            return
        parts.append(f"<{tag}{attributes}>")
        if tag == "foreignObject":
            _write_foreign(self, parts)
        elif children:
            write_children(self, parts)
        parts.append(f"</{tag}>")


def _begin(element: Any, tag: str, content: tuple[Any, ...], attributes: dict[str, Any]) -> None:
    """Give a new element what it holds."""
    check_tag(tag)
    element.tag = tag
    element._parent = None
    element._attributes = _named(attributes) if attributes else None
    if not content or (len(content) == 1 and type(content[0]) is str):
        element._children = content
    else:
        element._children = ()
        _insert(element, 0, content)
    if _recorder is not None:
        element.origin = _recorder()


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes by the names that they are written by."""
    return {_names.get(key) or _name(key): value for key, value in attributes.items()}


def _name(key: str) -> str:
    name = attribute_name(key)
    if len(_names) < _KEPT_NAMES:
        _names[key] = name
    return name


def _insert(element: Any, place: int, content: tuple[Any, ...]) -> None:
    """Put content at a position among the children. All is looked at before anything moves."""
    pieces: list[Any] = []
    fragments: list[Any] = []
    for item in content:
        _flatten(item, pieces, fragments)
    nodes = [piece for piece in pieces if type(piece) is not str]
    if len(nodes) > 1 and len({id(node) for node in nodes}) < len(nodes):
        raise ValueError("the same node is given twice; use clone() for a copy")
    for node in nodes:
        if isinstance(node, Branch):
            _refuse_cycle(element, node)
        elif not isinstance(node, Base):
            raise TypeError(f"{type(node).__name__} is neither text nor node")
    for fragment in fragments:
        fragment.release()
    for node in nodes:
        old = None if node._parent is None else node._parent()
        if old is not None:
            if old is element and node.index < place:
                place -= 1
            node.remove()
        node._parent = ref(element)
    children = element._children
    if type(children) is list:
        children[place:place] = pieces
    else:
        element._children = [*children[:place], *pieces, *children[place:]]


def _refuse_cycle(element: Any, node: Branch) -> None:
    above = element
    while above is not None:
        if above is node:
            raise ValueError(f"<{node.tag}> cannot stand within itself")
        above = None if above._parent is None else above._parent()


def method_of(tag: str) -> Callable[..., Any]:
    """A method that adds an element of this tag."""

    def method(self: Any, /, *content: Any, **attributes: Any) -> Any:
        return self.add(tag, *content, **attributes)

    return method


def function_of(tag: str) -> Callable[..., Any]:
    """A function that makes an element of this tag, without a parent."""

    def function(*content: Any, **attributes: Any) -> Any:
        return _plain(tag, *content, **attributes)

    return function


def attribute_text(element: Any) -> str:
    """The attributes of an element as they stand in its start tag, each after a space."""
    text = ""
    for name, value in (element._attributes or {}).items():
        if value is None:
            continue
        prefix = prefixes.get(name) or prefix_of(name)
        if prefix is None:
            text += special_attribute(element, name, value)
        elif type(value) is str:
            text += f'{prefix}{attribute(value)}"'
        elif value is True:
            text += f'{prefix}"'
        elif value is not False:
            text += f'{prefix}{attribute(value_text(value))}"'
    return text


def write_children(element: Any, parts: list[str]) -> None:
    """Append the text of what is in an element, without its own tags."""
    for child in element._children:
        if type(child) is str:
            parts.append(escape_text(child))
            continue
        # PERF: a plain element with one text, as most are, is written here without a call (bench/xhtml.py).
        if type(child) is _plain and not child._attributes:
            children = child._children
            if len(children) == 1 and type(text := children[0]) is str and (tag := child.tag) not in SPECIAL_ELEMENTS:
                parts.append(f"<{tag}>{escape_text(text)}</{tag}>")
                continue
        child._write(parts)
