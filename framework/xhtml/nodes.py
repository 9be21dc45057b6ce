"""The tree: elements, texts, comments, fragments and streamed parts.

A node has at most one parent, and adding it elsewhere moves it. Children are held strongly, the parent weakly: a tree
without a holder is freed at once, without the cycle collector. Text is kept as plain `str`, raw; escaping belongs to
the serialiser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias
from weakref import ref

from framework.xhtml import serialise
from framework.xhtml.elements import ElementMethods
from framework.xhtml.escape import comment, escape_text
from framework.xhtml.implementation import tree
from framework.xhtml.names import attribute_name
from framework.xhtml.widgets import Widgets

if TYPE_CHECKING:
    from typing import Self

Content: TypeAlias = Any
"""What may stand in an element: a node, a text, a number or any other value by its `str`, an object with a method
`__xhtml__()` that returns content, an iterable of such; None, True and False are nothing, so `condition and node`
works."""


class Node(tree.Base):
    """Anything that stands in a tree and is not plain text."""

    __slots__ = ()

    _parent: ref[Element] | None

    @property
    def parent(self) -> Element | None:
        """The element or fragment that holds this node, or None."""
        return None if self._parent is None else self._parent()

    @property
    def root(self) -> Node:
        """The topmost node of this tree."""
        node = self
        while (parent := node.parent) is not None:
            node = parent
        return node

    @property
    def index(self) -> int:
        """The position among the parent's children; ValueError where there is no parent."""
        parent = self.parent
        if parent is None:
            raise ValueError("a node without a parent has no position")
        return next(place for place, child in enumerate(parent._children) if child is self)

    def remove(self) -> Self:
        """Take this node out of its tree and return it; without a parent, nothing happens."""
        parent = self.parent
        if parent is not None:
            del parent._list()[self.index]
        self._parent = None
        return self

    def insert_before(self, *content: Content) -> None:
        """Put content in front of this node."""
        self._require_parent().insert(self.index, *content)

    def insert_after(self, *content: Content) -> None:
        """Put content behind this node."""
        self._require_parent().insert(self.index + 1, *content)

    def replace_with(self, *content: Content) -> Self:
        """Put content in this node's place, and return this node, taken out."""
        parent, place = self._require_parent(), self.index
        self.remove()
        parent.insert(place, *content)
        return self

    def _require_parent(self) -> Element:
        parent = self.parent
        if parent is None:
            raise ValueError("this node stands in no tree (a tree lives as long as somebody holds its top)")
        return parent

    def clone(self) -> Node:
        """A copy without a parent."""
        raise TypeError(f"{type(self).__name__} cannot be cloned")

    def _write(self, parts: list[str]) -> None:
        raise TypeError(f"{type(self).__name__} cannot be written")

    def _parts(self) -> Iterator[str | Node]:
        """What is in this node, one after the other, for streaming."""
        return iter(())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __str__(self) -> str:
        return serialise.to_text(self)

    def encode(self) -> bytes:
        """The text as UTF-8 bytes."""
        return serialise.to_bytes(self)

    def __iter__(self) -> Iterator[bytes]:
        """The text as chunks of UTF-8, made while they are taken."""
        return serialise.stream(self)


class Comment(Node):
    """A comment. Whatever its text, it stays a comment."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self._parent = None
        self.text = text

    def clone(self) -> Comment:
        return Comment(self.text)

    def _write(self, parts: list[str]) -> None:
        parts.append(f"<!--{comment(self.text)}-->")


class Streamed(Node):
    """Content that is made while the document is sent, and never kept.

    source: called each time the document is written; returns or yields content. Memory stays constant however much it
    yields.

    >>> page.body.add("ul").append(Streamed(lambda: (Element("li", line) for line in log)))
    """

    __slots__ = ("source",)

    def __init__(self, source: Callable[[], Iterable[Content]]) -> None:
        self._parent = None
        self.source = source

    def clone(self) -> Streamed:
        return Streamed(self.source)

    def _parts(self) -> Iterator[str | Node]:
        for content in self.source():
            piece: list[str | Node] = []
            tree.flatten(content, piece)
            yield from piece

    def _write(self, parts: list[str]) -> None:
        for piece in self._parts():
            if isinstance(piece, str):
                parts.append(escape_text(piece))
            else:
                piece._write(parts)


class Element(Widgets, ElementMethods, tree.Branch, Node):
    """One element: a tag, attributes, children.

    tag: the name as it is written. content: see `Content`. attributes: `class_="x"`, `data_id=3`, `aria_label="…"`,
    `for_=…`: a trailing "_" is dropped, other "_" become "-". True writes the attribute without a value, None and
    False leave it out; `aria_…` and the few like it write "true" and "false". A list is joined by spaces.

    >>> str(Element("p", "5 < 6 ", Element("em", "yes"), class_="note"))
    '<p class="note">5 &lt; 6 <em>yes</em></p>'
    """

    __slots__ = ("origin",)

    origin: tuple[str, int]
    """File and line of the call that made this element; only in development (see `framework.xhtml.development`)."""

    media_types: ClassVar[tuple[str, ...]] = ("text/html",)
    """What an element is served as by itself: without a root that says its namespace it is no XHTML document."""

    # -- children ----------------------------------------------------------------------------------

    @property
    def children(self) -> tuple[str | Node, ...]:
        """The children as they are now: texts and nodes."""
        return tuple(self._children)

    @property
    def elements(self) -> list[Element]:
        """The children that are elements."""
        return [child for child in self._children if isinstance(child, Element)]

    def _list(self) -> list[str | Node]:
        children = self._children
        if not isinstance(children, list):
            children = self._children = list(children)
        return children

    def prepend(self, *content: Content) -> Self:
        """Add content before the first child; returns this element."""
        return self.insert(0, *content)

    def clear(self) -> Self:
        """Take all children out; returns this element."""
        for child in self._children:
            if not isinstance(child, str):
                child._parent = None
        self._children = ()
        return self

    def clone(self) -> Element:
        """A deep copy without a parent. Ids are copied too: give the copy another before both stand in one document."""
        copy = type(self).__new__(type(self))
        self._copy_into(copy)
        stack: list[tuple[Element, Element]] = [(self, copy)]
        while stack:
            source, target = stack.pop()
            children: list[str | Node] = []
            for child in source._children:
                if isinstance(child, Element):
                    twin = type(child).__new__(type(child))
                    child._copy_into(twin)
                    twin._parent = ref(target)
                    stack.append((child, twin))
                    children.append(twin)
                elif isinstance(child, Node):
                    node = child.clone()
                    node._parent = ref(target)
                    children.append(node)
                else:
                    children.append(child)
            target._children = children
        return copy

    def _copy_into(self, copy: Element) -> None:
        copy.tag = self.tag
        copy._attributes = dict(self._attributes) if self._attributes else None
        copy._children = ()
        copy._parent = None
        if hasattr(self, "origin"):
            copy.origin = self.origin

    def walk(self) -> Iterator[Element]:
        """This element and all elements within it, in document order. The tree may be changed below the element at
        hand.
        """
        stack: list[Element] = [self]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(child for child in reversed(element._children) if isinstance(child, Element))

    @property
    def text(self) -> str:
        """All text within, without markup; assigning to it replaces the children."""
        parts: list[str] = []
        stack: list[str | Node] = [self]
        while stack:
            node = stack.pop()
            if isinstance(node, str):
                parts.append(node)
            elif isinstance(node, Element):
                stack.extend(reversed(node._children))
        return "".join(parts)

    @text.setter
    def text(self, text: str) -> None:
        self.clear()
        self.append(text)

    # -- attributes --------------------------------------------------------------------------------

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes by their written names (`class`, `data-x`), to read and to change."""
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    def set(self, **attributes: Any) -> Self:
        """Set attributes as the constructor does; returns this element."""
        for key, value in attributes.items():
            self.attributes[attribute_name(key)] = value
        return self

    def get(self, name: str, default: Any = None) -> Any:
        """One attribute's value, by its written name or the keyword's form (`class_`)."""
        return default if self._attributes is None else self._attributes.get(attribute_name(name), default)

    @property
    def id(self) -> str | None:
        """The id, or None."""
        value = self.get("id")
        return None if value is None or value is False else str(value)

    @id.setter
    def id(self, value: str) -> None:
        self.attributes["id"] = value

    @property
    def classes(self) -> tuple[str, ...]:
        """The names in `class`."""
        value = self.get("class")
        if not value or value is True:
            return ()
        return tuple(str(value if isinstance(value, str) else " ".join(map(str, filter(None, value)))).split())

    def add_class(self, *names: str) -> Self:
        """Add names to `class`, each once; returns this element."""
        self.attributes["class"] = " ".join(dict.fromkeys([*self.classes, *names]))
        return self

    def remove_class(self, *names: str) -> Self:
        """Drop names from `class`; returns this element."""
        self.attributes["class"] = " ".join(name for name in self.classes if name not in names) or None
        return self

    # -- searching ---------------------------------------------------------------------------------

    def by_id(self, id: str) -> Element | None:
        """The first element within (or this one) that has the id."""
        return next((element for element in self.walk() if element.id == id), None)

    def find(self, selector: str) -> Element | None:
        """The first element within that a selector matches; see `framework.xhtml.selectors`."""
        return next(self.find_each(selector), None)

    def find_all(self, selector: str) -> list[Element]:
        """All elements within that a selector matches, in document order."""
        return list(self.find_each(selector))

    def find_each(self, selector: str) -> Iterator[Element]:
        """The elements within that a selector matches, one by one, in document order."""
        from framework.xhtml.selectors import compile_selector

        matches = compile_selector(selector)
        return (element for element in self.walk() if element is not self and matches(element))

    def matches(self, selector: str) -> bool:
        """Whether a selector matches this element."""
        from framework.xhtml.selectors import compile_selector

        return compile_selector(selector)(self)

    def closest(self, selector: str) -> Element | None:
        """This element or the nearest one around it that a selector matches."""
        node: Element | None = self
        while node is not None and not node.matches(selector):
            node = node.parent
        return node

    def __repr__(self) -> str:
        shown = "".join(f" {name}={value!r}" for name, value in (self._attributes or {}).items())
        return f"<Element {self.tag}{shown}, {len(self._children)} children>"

    def _parts(self) -> Iterator[str | Node]:
        return iter(self._children)


class Fragment(Element):
    """Content without an element of its own: a part of a page, an answer for a partial update.

    Added to an element, its children move there.

    >>> str(Fragment(Element("dt", "CPU"), Element("dd", "12 %")))
    '<dt>CPU</dt><dd>12 %</dd>'
    """

    __slots__ = ()

    def __init__(self, *content: Content) -> None:
        super().__init__("div", *content)

    def release(self) -> list[str | Node]:
        """The children, taken out of this fragment."""
        children = list(self._children)
        self.clear()
        return children

    def _write(self, parts: list[str]) -> None:
        tree.write_children(self, parts)


tree.bind(Element, Fragment, serialise.tags_of, serialise.write_foreign_content)
