"""Both twins of the page builder's tree make the same of the same: pages, orders, mistakes."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xhtml_twins import builder

TAGS = [
    "p", "div", "span", "td", "br", "img", "input", "script", "style", "pre", "textarea", "title", "svg", "g", "math",
    "foreignObject", "linearGradient", "my-part", "html", "iframe", "Div", "xmp", "a b", "",
]  # fmt: skip
NAMES = ["class_", "id", "href", "src", "title", "data_x", "aria_label", "hidden", "on_click", "onclick", "style",
         "viewBox", "content", "a b", "draggable", "value"]  # fmt: skip

texts = st.text(max_size=8) | st.sampled_from(["<b>", "&", "\n x", "\r\n", "javascript:x()", "]]>", "é\ud800", "\x00"])
plain_values = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = plain_values | st.lists(texts | st.none(), max_size=3) | st.just(b"x") | st.just({"color": "red"})
attributes = st.dictionaries(st.sampled_from(NAMES), values, max_size=3)
# What stands in an element: values as they are, ("element", …) to be made by the builder, ("node", number) made before.
content = st.recursive(
    plain_values | st.just(b"bytes") | st.just({}) | st.tuples(st.just("node"), st.integers(0, 9)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(st.sampled_from(["comment", "fragment", "streamed", "object", "generator"]), inner)
        | st.tuples(st.just("element"), st.sampled_from(TAGS), st.lists(inner, max_size=3), attributes)
    ),
    max_leaves=5,
)
tags = st.sampled_from(TAGS)
nodes = st.integers(0, 9)
orders = st.lists(
    st.tuples(st.just("add"), nodes, tags, st.lists(content, max_size=3), attributes)
    | st.tuples(st.just("call"), nodes, st.sampled_from(["p", "div", "td", "br", "title"]), content, attributes)
    | st.tuples(st.just("append"), nodes, st.lists(content, max_size=3))
    | st.tuples(st.just("insert"), nodes, st.integers(-4, 4) | st.just(2**70), st.lists(content, max_size=3))
    | st.tuples(st.sampled_from(["remove", "clear", "clone", "write"]), nodes)
    | st.tuples(st.just("set"), nodes, attributes)
    | st.tuples(st.just("text"), nodes, texts),
    min_size=1,
    max_size=12,
)


class Player:
    """Plays orders on one builder, and keeps what came of each: a text, or a mistake."""

    def __init__(self, xhtml: Any) -> None:
        self.xhtml = xhtml
        self.nodes: list[Any] = [xhtml.Element("div")]
        self.seen: list[Any] = []

    def node(self, number: int) -> Any:
        return self.nodes[number % len(self.nodes)]

    def made(self, recipe: Any) -> Any:
        if isinstance(recipe, list):
            return [self.made(each) for each in recipe]
        if not isinstance(recipe, tuple):
            return recipe
        kind, *rest = recipe
        if kind == "node":
            return self.node(rest[0])
        if kind == "element":
            return self.xhtml.Element(rest[0], *self.made(rest[1]), **rest[2])
        inside = self.made(rest[0])
        if kind == "comment":
            return self.xhtml.Comment(str(inside) if isinstance(inside, str) else "x")
        if kind == "fragment":
            return self.xhtml.Fragment(inside)
        if kind == "streamed":
            return self.xhtml.Streamed(lambda: ["a", 1])
        if kind == "generator":
            return (each for each in [inside])
        return type("Thing", (), {"__xhtml__": lambda _: inside})()

    def play(self, order: Any) -> Any:
        kind, number, *rest = order
        node = self.node(number)
        if kind == "add":
            self.nodes.append(node.add(rest[0], *self.made(rest[1]), **rest[2]))
        elif kind == "call":
            self.nodes.append(getattr(node, rest[0])(self.made(rest[1]), **rest[2]))
        elif kind == "append":
            assert node.append(*self.made(rest[0])) is node
        elif kind == "insert":
            assert node.insert(rest[0], *self.made(rest[1])) is node
        elif kind == "set":
            node.set(**rest[0])
        elif kind == "text":
            node.text = rest[0]
        elif kind == "clone":
            self.nodes.append(node.clone())
        elif kind == "write":
            return str(node), node.encode(), b"".join(node)
        else:
            getattr(node, kind)()
        return None

    def shape(self) -> Any:
        """All trees as they are: whose children are whose."""
        places = {id(node): number for number, node in enumerate(self.nodes)}
        return [
            (
                node.tag,
                repr(node.attributes),
                places.get(id(node.parent)) if node.parent is not None else None,
                [child if isinstance(child, str) else type(child).__name__ for child in node.children],
                [child.parent is node for child in node.children if not isinstance(child, str)],
            )
            for node in self.nodes
        ]


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error)


def story(twin: str, recipe: Any) -> list[Any]:
    with builder(twin) as xhtml:
        player = Player(xhtml)
        told = []
        for order in recipe:
            told.append(attempt(lambda order=order: player.play(order)))
            told.append(player.shape())
        told.extend(attempt(lambda node=node: (str(node), node.encode(), b"".join(node))) for node in player.nodes)
        return told


@given(orders)
@example([("add", 0, "p", [("node", 0)], {})])
@example([("append", 0, [("node", 0)])])
@example([("add", 0, "p", ["x"], {}), ("append", 0, [("node", 1), ("node", 1)])])
@example([("add", 0, "p", ["x"], {"class_": ["a", None], "href": "javascript:x"}), ("write", 0)])
def test_both_twins_do_the_same(recipe: Any) -> None:
    assert story("compiled", recipe) == story("pure", recipe)


@pytest.fixture(params=["compiled", "pure"])
def xhtml(request: pytest.FixtureRequest) -> Any:
    with builder(request.param) as module:
        yield module


def test_what_cannot_move_leaves_the_trees_as_they_are(xhtml: Any) -> None:
    top = xhtml.Element("div")
    first, second = top.add("p", "1"), top.add("p", "2")
    with pytest.raises(ValueError, match="cannot stand within itself"):
        second.append(first, top)
    with pytest.raises(ValueError, match="cannot stand within itself"):
        first.add("b", top)
    assert str(top) == "<div><p>1</p><p>2</p></div>"
    assert first.parent is top


def test_fragment_that_cannot_move_keeps_its_content(xhtml: Any) -> None:
    top = xhtml.Element("div")
    fragment = xhtml.Fragment("text", xhtml.Element("p", "1"))
    for refused in (b"bytes", top, fragment.children[1]):
        with pytest.raises((TypeError, ValueError)):
            top.append("x", [fragment, refused])
        assert (str(top), str(fragment)) == ("<div></div>", "text<p>1</p>")
        assert fragment.children[1].parent is fragment
    top.append(fragment, fragment)
    assert (str(top), str(fragment)) == ("<div>text<p>1</p></div>", "")
    assert top.children[1].parent is top


def test_text_of_a_kind_of_its_own_becomes_plain_text(xhtml: Any) -> None:
    class Text(str):
        def __str__(self) -> str:
            return self

    class Named:
        def __str__(self) -> str:
            return Text("<n>")

    odd = xhtml.Fragment()
    odd._children = [3]
    top = xhtml.Element("p", Text("<t>"), Named())
    assert [type(child) for child in top.children] == [str, str]
    assert str(top) == "<p>&lt;t&gt;&lt;n&gt;</p>"
    with pytest.raises(TypeError, match="neither text nor node"):
        top.append(odd)


def test_methods_and_functions_make_the_same_elements(xhtml: Any) -> None:
    from framework.xhtml import tags

    top = xhtml.Element("div")
    top.p("a", class_="x")
    top.add("p", "a", class_="x")
    top.append(tags.p("a", class_="x"))
    assert str(top) == "<div>" + '<p class="x">a</p>' * 3 + "</div>"
    assert xhtml.Element.p.__doc__.startswith("Append a <p> element")
    assert (tags.li.__name__, xhtml.Element.li.__name__) == ("li", "li")
    with pytest.raises(TypeError):
        xhtml.Element.p()


def test_deep_nesting_is_no_end_of_the_process(xhtml: Any) -> None:
    top = bottom = xhtml.Element("div")
    for _ in range(100_000):
        bottom = bottom.add("div")
    assert str(top) == "<div>" * 100_001 + "</div>" * 100_001
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(RecursionError):
        xhtml.Element("div", nested)
    del top, bottom


def test_a_tree_is_freed_without_the_cycle_collector(xhtml: Any) -> None:
    gc.disable()
    try:
        top = xhtml.Element("div", xhtml.Element("p", "x"))
        kept, watched = top.add("p", "y"), weakref.ref(top)
        assert kept.parent is top
        del top
        assert watched() is None
        assert kept.parent is None
        assert str(kept) == "<p>y</p>"
    finally:
        gc.enable()


def test_a_cycle_through_an_attribute_is_found(xhtml: Any) -> None:
    element = xhtml.Element("p", "x")
    element.attributes["data-x"] = [element]
    watched = weakref.ref(element)
    del element
    gc.collect()
    assert watched() is None


def test_no_reference_is_lost_or_kept(xhtml: Any) -> None:
    name, value, text = "data-own", "".join(["v", "1"]), "".join(["t", "2"])

    def all_of_it() -> None:
        top = xhtml.Element("div", None, [text, xhtml.Element("p", text, data_own=value)])
        top.add("p", text, xhtml.Comment(text), class_=value)
        top.append(top.children[1], text)
        top.p(text).remove()
        for mistake in (lambda: top.add("a b"), lambda: top.append(b""), lambda: top.append(top)):
            with pytest.raises((TypeError, ValueError)):
                mistake()
        str(top), top.encode(), str(top.clone()), attempt(lambda: top.add("p", **{"a b": 1}))

    all_of_it()
    before = [sys.getrefcount(each) for each in (name, value, text)]
    for _ in range(200):
        all_of_it()
    gc.collect()
    assert [sys.getrefcount(each) for each in (name, value, text)] == before


def test_development_remembers_lines_on_both(xhtml: Any) -> None:
    xhtml.development()
    try:
        top = xhtml.Element("div")
        made = [top, top.add("p"), top.p(), top.add_paragraph("x")]
        assert {element.origin[0] for element in made} == {__file__}
        assert len({element.origin[1] for element in made}) == 2
    finally:
        xhtml.development(False)
    assert not hasattr(xhtml.Element("p"), "origin")
