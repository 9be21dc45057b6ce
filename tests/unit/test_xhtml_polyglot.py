"""Any tree, written, is the same tree again for an XML parser and for an HTML parser."""

from __future__ import annotations

import re
import xml.etree.ElementTree as etree
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from framework.xhtml import Comment, Document, Element, Fragment, Streamed
from framework.xhtml.names import SVG_NAMESPACE, VOID_ELEMENTS, XHTML_NAMESPACE
from framework.xhtml.parse import parse_document

html5lib = pytest.importorskip("html5lib")
lxml_etree = pytest.importorskip("lxml.etree")

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")

NONCHARACTERS = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff{NONCHARACTERS}]")

texts = st.text(st.characters(), max_size=12) | st.sampled_from(
    [
        "<b>",
        "&amp;",
        "]]>",
        "-->",
        "\r\n",
        "\r",
        "\n",
        "\t",
        "\x00",
        "\ud800",
        "\ufffe",
        "\x85",
        "'\"`=",
        "&#0;",
        "\x0b",
        "  ",
    ]
)
attribute_names = st.sampled_from(["class_", "title", "id", "data_x", "aria_label", "lang", "hidden", "data_a_b"])
attributes = st.dictionaries(attribute_names, texts | st.booleans() | st.none() | st.integers(), max_size=3)
comments = st.builds(Comment, texts)
words = st.lists(texts | comments, max_size=3)


def element(tags: str, content: Any) -> st.SearchStrategy[Element]:
    return st.builds(
        lambda tag, inside, attrs: Element(tag, *inside, **attrs), st.sampled_from(tags.split()), content, attributes
    )


void = element("br wbr img hr input", st.just([]))
leaves = element("p h1 h6 pre textarea em code button label output", words) | void
drawing = element("path circle linearGradient text title", words)
drawings = st.builds(
    lambda inside, box: Element("svg", *inside, viewBox=box, preserveAspectRatio="none"),
    st.lists(
        drawing | st.recursive(drawing, lambda inner: element("g symbol", st.lists(inner, max_size=2))), max_size=2
    ),
    texts,
)


def containers(inner: Any) -> st.SearchStrategy[Element]:
    flow = st.lists(texts | comments | inner, max_size=4)
    items = st.lists(element("li", flow), max_size=3)
    cells = st.lists(element("td th", flow), max_size=3)
    rows = st.lists(element("tr", cells), max_size=3)
    bodies = st.lists(element("tbody", rows), max_size=2)
    return (
        element("div section article main aside header footer blockquote details", flow)
        | element("ul ol menu", items)
        | element("table", bodies)
    )


trees = st.recursive(leaves | drawings, containers, max_leaves=8)


def cleaned(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def merged(children: list[Any]) -> list[Any]:
    """Without comments, and with texts that touch put together."""
    out: list[Any] = []
    for child in children:
        if isinstance(child, str) and out and isinstance(out[-1], str):
            out[-1] += child
        elif child != "" and child is not None:
            out.append(child)
    return [child.replace("\r\n", "\n").replace("\r", "\n") if isinstance(child, str) else child for child in out]


def shape_of(node: Element) -> Any:
    """What the tree says, independently of how it is written."""
    attributes = {}
    for name, value in node.attributes.items():
        if name.startswith("aria-") and isinstance(value, bool):
            value = str(value).lower()
        if value is None or value is False:
            continue
        attributes[name] = "" if value is True else cleaned(str(value))
    children: list[Any] = []
    for child in node.children:
        if isinstance(child, str):
            # Where two texts touch, "\r" and "\n" in them touch as well; they are joined before they are cleaned.
            if children and isinstance(children[-1], str):
                children[-1] += child
            else:
                children.append(child)
        elif isinstance(child, Element):
            children.append(shape_of(child))
        else:
            children.append(None)
    return node.tag, attributes, merged([cleaned(c) if isinstance(c, str) else c for c in children])


def shape_of_parsed(node: Any) -> Any:
    """The same of what ElementTree or lxml holds."""
    namespace, _, tag = node.tag[1:].partition("}") if node.tag[0] == "{" else ("", "", node.tag)
    assert namespace in (XHTML_NAMESPACE, SVG_NAMESPACE), node.tag
    children: list[Any] = [node.text or ""]
    for child in node:
        if isinstance(child.tag, str):
            children.append(shape_of_parsed(child))
        children.append(child.tail or "")
    attributes = {name: value for name, value in node.attrib.items() if name != "xmlns" and not name.endswith("}xmlns")}
    return tag, attributes, merged(children)


def by_expat(data: bytes) -> Any:
    return shape_of_parsed(etree.fromstring(data))


def by_lxml(data: bytes) -> Any:
    parser = lxml_etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    return shape_of_parsed(lxml_etree.fromstring(data, parser))


def by_html5lib(data: bytes) -> Any:
    tree = html5lib.parse(data, treebuilder="etree", namespaceHTMLElements=True, transport_encoding="utf-8")
    return shape_of_parsed(tree)


def page_of(*content: Any) -> Document:
    page = Document(title="t")
    page.body.append(*content)
    return page


@pytest.mark.invalid_pages("elements stand where they may not, with any text as id and lang")
@given(st.lists(trees | texts, max_size=3))
@settings(max_examples=80, deadline=None)
@example([Element("p", "\r", "\n")])
@example([Element("pre", "\n\nx")])
@example([Element("textarea", "\nx\n")])
@example([Element("p", "]]", ">")])
@example([Element("p", "-", Comment("-->"), "<")])
def test_any_tree_is_the_same_for_xml_and_html_parsers(content: list[Any]) -> None:
    page = page_of(*content)
    data = page.encode()
    expected = shape_of(page.html)
    assert by_expat(data) == expected
    assert by_lxml(data) == expected
    assert by_html5lib(data) == expected
    assert parse_document(data).encode() == data


@pytest.mark.invalid_pages("elements stand where they may not, with any text as id and lang")
@given(st.lists(trees | texts, max_size=3))
@settings(max_examples=40, deadline=None)
def test_text_bytes_and_stream_are_one(content: list[Any]) -> None:
    page = page_of(*content)
    data = page.encode()
    assert str(page).encode() == data
    assert b"".join(page) == data
    assert page.clone().encode() == data
    fragment = Fragment(*[child.clone() if isinstance(child, Element) else child for child in page.body.children])
    assert bytes(str(fragment), "utf-8") in data
    page.body.append(Streamed(lambda: content and [Element("p", "more")]))
    assert b"".join(page) == page.encode()


@given(st.text(max_size=20), st.text(max_size=20))
def test_names_are_refused_or_well_formed(tag: str, name: str) -> None:
    try:
        element = Element(tag, **{name: "v"})
    except ValueError:
        return
    if tag in ("script", "style") or tag in VOID_ELEMENTS or name.startswith(("on", "srcdoc")):
        return
    parsed = etree.fromstring(str(element))
    assert parsed.tag.rpartition("}")[2] == tag


@pytest.mark.parametrize(
    "tag", ["", "P", "a b", "a>", "1a", "plaintext", "xmp", "x:y", "é", "Div", "linearGRADIENT", "a\n", "p" * 101]
)
def test_tag_that_would_differ_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Element(tag)
    with pytest.raises(ValueError, match=r"\S"):
        Element("div").add(tag)


@pytest.mark.parametrize(
    "name", ["", "a b", "a=b", "onClick", "viewbox", "xmlns", "xlink:href", "é", 'a"', "a/", "_", "a>"]
)
def test_attribute_that_would_differ_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Element("div", **{name: "x"})
    element = Element("div")
    element.attributes[name] = "x"
    with pytest.raises(ValueError, match=r"\S"):
        str(element)


def test_deep_tree_is_written_without_recursion() -> None:
    top = bottom = Element("div")
    for _ in range(20_000):
        bottom = bottom.add("div")
    bottom.add("p", "x")
    assert str(top) == "<div>" * 20_001 + "<p>x</p>" + "</div>" * 20_001
    assert str(top.clone()) == str(top)
    assert b"".join(top) == top.encode()


def test_xhtml_within_svg_says_its_namespace() -> None:
    drawing = Element("svg", viewBox="0 0 9 9")
    drawing.add("foreignObject", width=9, height=9).add("p", "text", class_="x")
    data = page_of(drawing).encode()
    found = etree.fromstring(data).find(f".//{{{SVG_NAMESPACE}}}foreignObject/{{{XHTML_NAMESPACE}}}p")
    assert found is not None
    assert found.text == "text"
    tree = html5lib.parse(data, treebuilder="etree", namespaceHTMLElements=True, transport_encoding="utf-8")
    assert tree.find(f".//{{{XHTML_NAMESPACE}}}p") is not None
