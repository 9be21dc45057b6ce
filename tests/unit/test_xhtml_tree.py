"""The tree: adding, searching, moving, removing, cloning; attributes; what content is."""

from __future__ import annotations

import gc
import ipaddress
import weakref
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pytest

from framework.xhtml import Comment, Document, Element, Fragment, Streamed, tags
from framework.xhtml.names import HTML_ELEMENTS, VOID_ELEMENTS
from framework.xhtml.selectors import compile_selector


def listed(*texts: str) -> Element:
    return Element("ul", [Element("li", text) for text in texts])


def test_add_returns_the_new_element() -> None:
    top = Element("div")
    inner = top.add("p", "a ", Element("b", "b"), " c", class_="x", data_id=3)
    assert inner.tag == "p"
    assert inner.parent is top
    assert str(top) == '<div><p class="x" data-id="3">a <b>b</b> c</p></div>'


@pytest.mark.parametrize("tag", sorted(HTML_ELEMENTS - {"html", "head", "body"}))
def test_every_element_is_there_as_method_and_as_function(tag: str) -> None:
    name = "del_" if tag == "del" else tag
    content = () if tag in VOID_ELEMENTS or tag == "iframe" else ("x",)
    top = Element("div")
    made = getattr(top, name)(*content, class_="c")
    assert made.parent is top
    assert made.tag == tag
    assert str(getattr(tags, name)(*content, class_="c")) == str(made)


class Colour(Enum):
    RED = "red"


class Temperature:
    def __xhtml__(self) -> object:
        return Element("b", "21"), " °C"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<", "&lt;"),
        (None, ""),
        (False, ""),
        (True, ""),
        (0, "0"),
        (1.5, "1.5"),
        (Decimal("1.50"), "1.50"),
        (date(2030, 1, 31), "2030-01-31"),
        (["a", ["b", ("c",)], None], "abc"),
        ((str(i) for i in range(3)), "012"),
        (ipaddress.ip_network("10.0.0.0/30"), "10.0.0.0/30"),
        (Path("/tmp"), "/tmp"),
        (Temperature(), "<b>21</b> °C"),
        (Fragment("a", Element("i", "b")), "a<i>b</i>"),
        (Comment("x"), "<!-- x -->"),
    ],
)
def test_content_of_any_kind(content: object, text: str) -> None:
    assert str(Element("p", content)) == f"<p>{text}</p>"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"class_": ["a", None, "b"]}, ' class="a b"'),
        ({"for_": "x"}, ' for="x"'),
        ({"accept_charset": "utf-8"}, ' accept-charset="utf-8"'),
        ({"hidden": True}, ' hidden=""'),
        ({"hidden": False}, ""),
        ({"title": None}, ""),
        ({"aria_hidden": True}, ' aria-hidden="true"'),
        ({"aria_hidden": False}, ' aria-hidden="false"'),
        ({"draggable": False}, ' draggable="false"'),
        ({"data_x": True}, ' data-x=""'),
        ({"value": 0}, ' value="0"'),
        ({"datetime": date(2030, 1, 31)}, ' datetime="2030-01-31"'),
        ({"datetime": datetime(2030, 1, 31, 6, 30, 0, 123456)}, ' datetime="2030-01-31T06:30:00.123"'),
        ({"title": Colour.RED}, ' title="red"'),
        ({"style": {"margin_top": "1px", "color": None}}, ' style="margin-top: 1px"'),
        ({"xml:lang": "de"}, ' xml:lang="de"'),
    ],
)
def test_attribute_of_any_kind(attributes: dict[str, object], text: str) -> None:
    assert str(Element("p", **attributes)) == f"<p{text}></p>"


def test_node_that_is_added_elsewhere_moves() -> None:
    one, two = listed("a", "b"), listed("c")
    two.append(one.elements[0])
    assert str(one) == "<ul><li>b</li></ul>"
    assert str(two) == "<ul><li>c</li><li>a</li></ul>"
    assert two.elements[1].parent is two


def test_moving_within_one_parent_keeps_the_place_that_was_meant() -> None:
    top = listed("a", "b", "c", "d")
    a, b, c, d = top.elements
    top.insert(3, a)
    assert [item.text for item in top.elements] == ["b", "c", "a", "d"]
    top.insert(0, d)
    assert top.elements == [d, b, c, a]
    b.insert_after(a)
    assert top.elements == [d, b, a, c]


def test_insert_replace_remove_clear() -> None:
    top = listed("a", "b")
    top.elements[0].insert_before(Element("li", "0"))
    top.elements[-1].insert_after("tail")
    top.prepend("head")
    old = top.elements[1].replace_with(Element("li", "A"), Element("li", "AA"))
    assert str(top) == "<ul>head<li>0</li><li>A</li><li>AA</li><li>b</li>tail</ul>"
    assert old.parent is None
    assert old.remove() is old
    top.elements[0].remove()
    assert [item.text for item in top.elements] == ["A", "AA", "b"]
    item = top.elements[0]
    assert str(top.clear()) == "<ul></ul>"
    assert item.parent is None
    with pytest.raises(ValueError, match="no tree"):
        item.insert_after("x")


def test_element_cannot_stand_within_itself() -> None:
    top = Element("div")
    inner = top.add("div").add("div")
    with pytest.raises(ValueError, match="within itself"):
        inner.append(top)
    with pytest.raises(ValueError, match="within itself"):
        top.append(top)


def test_same_node_cannot_be_given_twice() -> None:
    top, item = Element("ul"), Element("li")
    with pytest.raises(ValueError, match="twice"):
        top.append(item, [item])
    assert str(top.append(item, item.clone())) == "<ul><li></li><li></li></ul>"


def test_clone_is_deep_and_apart() -> None:
    top = Element("div", listed("a", Comment("c")), id="x")  # type: ignore[arg-type]
    copy = top.clone()
    assert str(copy) == str(top)
    assert copy.parent is None
    copy.elements[0].append(Element("li", "b"))
    copy.attributes["id"] = "y"
    assert str(copy) != str(top)
    page = Document("t")
    page.body.add("p", "x")
    twin = page.clone()
    twin.title = "u"
    twin.body.clear()
    assert str(page) != str(twin)
    assert page.title == "t"
    assert page.find("p") is not None


def test_tree_is_freed_without_the_cycle_collector() -> None:
    gc.disable()
    try:
        page = Document("t")
        page.body.add_table([(1, 2)] * 5).find("td")
        form = page.body.add_form("/x")
        form.add_text("a", "A")
        watched = [weakref.ref(element) for element in page.walk()]
        del page, form
        assert [alive for alive in watched if alive() is not None] == []
    finally:
        gc.enable()


def test_walk_and_text() -> None:
    top = Element("div", "a", Element("p", "b", Element("i", "c")), Comment("x"), "d")
    assert [element.tag for element in top.walk()] == ["div", "p", "i"]
    assert top.text == "abcd"
    top.text = "<new>"
    assert str(top) == "<div>&lt;new&gt;</div>"


def test_attributes_can_be_read_and_changed() -> None:
    element = Element("p", class_="a b", id="x")
    assert element.classes == ("a", "b")
    assert element.add_class("b", "c").get("class") == "a b c"
    assert element.remove_class("a", "b", "c").get("class_") is None
    element.id = "y"
    element.set(data_k=1).attributes["title"] = "t"
    assert str(element) == '<p id="y" data-k="1" title="t"></p>'
    assert element.get("nope", 5) == 5
    assert Element("p").id is None


@pytest.fixture
def page() -> Document:
    page = Document("t")
    page.body.add("div", id="one", class_="box hot").add("p", "first", data_kind="a b")
    inner = page.body.add("section").add("div", class_="box")
    inner.add("p", "second", lang="en-GB", hidden=True)
    inner.add("ul").add("li", "third")
    return page


@pytest.mark.parametrize(
    ("selector", "texts"),
    [
        ("p", ["first", "second"]),
        ("#one", ["first"]),
        (".box", ["first", "secondthird"]),
        ("div.box.hot", ["first"]),
        ("body > div", ["first"]),
        ("body div", ["first", "secondthird"]),
        ("section > div > ul li", ["third"]),
        ("p, li", ["first", "second", "third"]),
        ("[hidden]", ["second"]),
        ("p[lang=en-GB]", ["second"]),
        ('p[lang="en-GB"]', ["second"]),
        ("[lang^=en]", ["second"]),
        ("[lang$=GB]", ["second"]),
        ("[lang*='n-G']", ["second"]),
        ("[data-kind~=b]", ["first"]),
        ("div > *", ["first", "second", "third"]),
        ("h1", []),
        ("[data-kind*='']", []),
    ],
)
def test_selector(page: Document, selector: str, texts: list[str]) -> None:
    found = [element.text for element in page.body.find_all(selector)]
    assert found == texts
    first = page.body.find(selector)
    assert (first.text if first is not None else None) == (texts[0] if texts else None)


@pytest.mark.parametrize("selector", ["", "p >", "> p", "p:hover", "p + p", "p,,q", "[", "#", "p{", "a" * 1001])
def test_selector_that_is_not_understood_says_where(selector: str) -> None:
    with pytest.raises(ValueError, match="selector"):
        compile_selector(selector)


def test_by_id_closest_matches(page: Document) -> None:
    item = page.find("li")
    assert item is not None
    assert page.by_id("one") is page.find("#one")
    assert page.by_id("none") is None
    box = item.closest(".box")
    assert box is not None
    assert box.tag == "div"
    assert item.closest("table") is None
    assert item.matches("ul > li")
    assert item.root is page.html


def test_streamed_content_is_made_anew_each_time() -> None:
    top = Element("ul", Streamed(lambda: (Element("li", number) for number in range(3))), "<")
    for _ in range(2):
        assert str(top) == "<ul><li>0</li><li>1</li><li>2</li>&lt;</ul>"
        assert b"".join(top) == top.encode()


def test_stream_holds_one_chunk_however_much_there_is() -> None:
    made = 0

    def rows() -> object:
        nonlocal made
        for number in range(100_000):
            made = number
            yield Element("li", "x" * 50)

    chunks = iter(Element("ul", Streamed(rows)))  # type: ignore[arg-type]
    first = next(chunks)
    assert 16_000 < len(first) < 40_000
    assert made < 1_000
    assert max(map(len, chunks)) < 40_000
    assert made == 99_999


def test_void_element_holds_nothing() -> None:
    with pytest.raises(ValueError, match="no content"):
        str(Element("br", "x"))
    with pytest.raises(ValueError, match="text only"):
        str(Element("textarea", Element("b", "x")))


def test_handler_as_link_target_asks_the_document() -> None:
    def disks() -> None: ...

    page = Document("t", get_url=lambda handler, **params: f"/{handler.__name__}/{params.get('name', '')}")
    page.body.add("nav").add_anchor("sda", disks, params={"name": "sda"})
    page.body.add_navigation([("Disks", disks)], label="Main", current="/disks/")
    page.body.add_form(disks)
    page.body.add_form(disks, params={"name": "sdb"})
    page.body.add_navigation([("sdc", disks, {"name": "sdc"})], label="More")
    hrefs = [element.get("href") or element.get("action") for element in page.find_all("a, form")]
    assert hrefs == ["/disks/sda", "/disks/", "/disks/", "/disks/sdb", "/disks/sdc"]
    with pytest.raises(ValueError, match="get_url"):
        Document("t").body.add_anchor("x", disks)


def test_page_protocol() -> None:
    page = Document("A & B", lang="de", description="d", class_="x")
    assert repr(page) == "<Document 'A & B'>"
    page.head.add_stylesheet("/a.css", media="print")
    page.head.add_script_module("/a.js")
    page.head.add_module_preload("/b.js")
    page.head.add_icon("/i.svg", type="image/svg+xml")
    assert Document("plain").media_types == ("application/xhtml+xml", "text/html")
    assert page.lang == "de"
    page.title = "C"
    text = str(page)
    assert text.startswith('<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="de" class="x"><head>')
    assert text.count("<title>") == 1
    assert '<link rel="stylesheet" href="/a.css" media="print"/>' in text
    assert '<script type="module" src="/a.js"></script>' in text
    assert page.encode() == text.encode()


def test_nonce_stands_on_inline_script_and_style_alone() -> None:
    page = Document("t", nonce="n0nce")
    page.head.add_script("run()", module=True)
    page.head.add_script(src="/a.js")
    page.head.add_theme()
    assert [element.get("nonce") for element in page.find_all("script, style")] == ["n0nce", None, "n0nce"]


def test_page_with_a_module_is_html_first() -> None:
    page = Document("t")
    assert page.media_types == ("application/xhtml+xml", "text/html")
    page.head.add_script(src="/classic.js")
    assert page.media_types[0] == "application/xhtml+xml"
    other = page.clone()
    page.head.add_script_module("/a.mjs")
    other.body.add("script", type="module", src="/a.mjs")
    for each in (page, other):
        # For equal wishes the first; for no wish the last; and a client that takes XHTML alone gets it.
        assert each.media_types[0] == each.media_types[-1] == "text/html"
        assert "application/xhtml+xml" in each.media_types
