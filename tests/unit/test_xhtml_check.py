"""What is wrong with a page is told to its programmer, at the line that made it; what is right is not."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest

from framework.xhtml import Document, Element, XHTMLWarning, development
from framework.xhtml.check import MAX_PROBLEMS, check


@pytest.fixture
def page() -> Document:
    return Document("t")


@pytest.fixture
def developing() -> Iterator[None]:
    development()
    yield
    development(False)


WRONG = [
    (lambda b: b.add("foo"), "no element <foo>"),
    (lambda b: b.add("tabel"), "did you mean 'table'"),
    (lambda b: b.add("center", "x"), "obsolete"),
    (lambda b: b.add("circle"), "within <svg>"),
    (lambda b: b.p("x", clas="y"), "no attribute 'clas'; did you mean 'class'"),
    (lambda b: b.p("x", href="/"), "<p> has no attribute 'href'"),
    (lambda b: b.p("x", aria_labl="y"), "did you mean 'aria-label'"),
    (lambda b: b.p(Element("div", "x")), "<div> cannot stand in <p>"),
    (lambda b: b.ul(Element("p", "x")), "<p> cannot stand in <ul>"),
    (lambda b: b.ul("x"), "holds elements only"),
    (lambda b: b.li("x"), "<li> cannot stand in <body>; it belongs in <menu>, <ol>, <ul>"),
    (lambda b: b.table(Element("tr", Element("td"))), "write one"),
    (lambda b: b.span(Element("em", Element("ul"))), "<ul> cannot stand in <em>"),
    (lambda b: b.p(Element("a", Element("div", "x"), href="/")), "<div> cannot stand in <a>"),
    (lambda b: b.a(Element("button", "x"), href="/"), "<button> cannot stand anywhere within <a>"),
    (lambda b: b.form(Element("div", Element("form"))), "<form> cannot stand anywhere within <form>"),
    (lambda b: b.dl(Element("div", Element("p"))), "<p> cannot stand in <div>"),
    (lambda b: b.append(Element("p", id="a"), Element("p", id="a")), "the id 'a' is there twice"),
    (lambda b: b.p("x", id="a b"), "white space"),
    (lambda b: b.img(src="/x.png"), "no alt"),
    (lambda b: b.input(type="text", name="q"), "no label"),
    (
        lambda b: b.input(type="range", required=True, aria_label="x"),
        "'required' means nothing for <input type=\"range",
    ),
    (lambda b: b.input(placeholder="x", list="l", max=3, aria_label="x"), "'max' means nothing for"),
    (lambda b: b.select(name="q"), "no label"),
    (lambda b: b.label("x", for_="nope"), "for names the id 'nope'"),
    (lambda b: b.a("x", href="#nope"), "href names the id 'nope'"),
    (lambda b: b.p("x", aria_describedby=["nope"]), "'nope', which is not there"),
    (lambda b: b.a("", href="/"), "no text"),
    (lambda b: b.button(type="button"), "no text"),
    (lambda b: b.iframe(src="/"), "no title"),
    (lambda b: b.progress(value=1), "no label"),
    (lambda b: b.a("x", href="javascript:x()"), "would run a script"),
    (lambda b: b.noscript("x"), "noscript"),
    (lambda b: b.append(Element("main"), Element("main")), "more than one <main>"),
    (lambda b: b.append(Element("h1", "x"), Element("h3", "y")), "<h3> follows <h1>"),
    (lambda b: b.parent.set(lang=None), "language"),
    (lambda b: b.parent.find("title").clear(), "no title"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_mistake_is_told_once(page: Document, make: object, message: str) -> None:
    make(page.body)  # type: ignore[operator]
    found = [str(problem) for problem in page.check()]
    assert len([text for text in found if message in text]) == 1, found


RIGHT = [
    lambda b: b.a(Element("div", "x"), href="/"),
    lambda b: b.dl(Element("div", Element("dt", "x"), Element("dd", "y"))),
    lambda b: b.label("x ", Element("input", type="text", name="q")),
    lambda b: b.input(type="text", name="q", aria_label="x"),
    lambda b: b.a(Element("img", src="/x", alt="x"), href="/"),
    lambda b: b.button(Element("svg", Element("title", "x"), Element("path", d="M0 0")), type="button"),
    lambda b: b.a("x", href="#"),
    lambda b: b.a("x", href="#top"),
    lambda b: b.add("my-widget", "x", anything="y") and None,
    lambda b: b.append(Element("my-widget", "x")),
    lambda b: b.p("x", data_anything="y", aria_hidden=True, lang="de"),
    lambda b: b.add("math", Element("mi", "x")),
    lambda b: b.input(type="hidden", name="x"),
    lambda b: b.ul(Element("script", src="/x.js"), Element("li", "x")),
    lambda b: b.video(Element("source", src="/x"), Element("p", "no video"), controls=True),
]


@pytest.mark.parametrize("make", RIGHT)
def test_what_is_right_is_not_told(page: Document, make: object) -> None:
    make(page.body)  # type: ignore[operator]
    found = [str(problem) for problem in page.check()]
    assert [text for text in found if "my-widget" not in text] == []


def test_problems_of_one_page_are_bounded(page: Document) -> None:
    for _ in range(MAX_PROBLEMS + 10):
        page.body.img(src="/x")
    assert len(page.check()) == MAX_PROBLEMS


def test_part_of_a_page_can_be_checked_alone() -> None:
    assert check(Element("p", Element("a", "x", href="#elsewhere"))) == []


@pytest.mark.invalid_pages("what is told is wrong")
def test_development_warns_at_the_line_that_made_it(page: Document, developing: None) -> None:
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    page.body.img(src="/x.png")
    page.body.append(Element("img", src="/y.png"))
    page.body.add_form().add("input", name="q", type="text")
    for write in (str, Document.encode, lambda page: b"".join(page)):
        with pytest.warns(XHTMLWarning) as caught:
            write(page)
        assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, line + i) for i in range(3)]
        assert "alt" in str(caught[0].message)


@pytest.mark.invalid_pages("what is told is wrong")
def test_mistake_in_a_table_is_told_at_the_line_of_the_table(page: Document, developing: None) -> None:
    line = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    page.body.add_table([("a",), ("b",)], row_id=lambda row: "same")
    with pytest.warns(XHTMLWarning, match="twice") as caught:
        str(page)
    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, line)]


@pytest.mark.invalid_pages("what would be told is wrong")
def test_without_development_nothing_is_recorded_or_told(page: Document) -> None:
    image = page.body.img(src="/x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        str(page)
    assert not hasattr(image, "origin")


def test_production_imports_only_what_it_uses() -> None:
    code = (
        "import sys; from framework.xhtml import Document; page = Document('t'); page.body.add_paragraph('x');"
        "str(page);"
        "print(*sorted(name for name in sys.modules if name.startswith('framework.xhtml.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.rpartition(".")[2] for name in done.stdout.split()}
    assert not loaded & {"check", "model", "developing", "parse", "charts", "forms", "tables", "rows", "theme"}
