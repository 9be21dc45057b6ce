"""What the builder makes is valid, as HTML and as XHTML, in the eyes of the Nu HTML checker."""

from __future__ import annotations

from pathlib import Path

import calls_application
import pytest
from nu_validator import problems

from examples.gallery.gallery import WIDGETS, build, new_page
from framework.xhtml import Document, Element, tags


def text_page() -> Document:
    page = Document("Text")
    body = page.body
    body.header(tags.hgroup(tags.h1("One"), tags.p("two")))
    main = body.main()
    main.search(tags.form(tags.label("Find ", tags.input(type="search", name="q"))))
    article = main.article(tags.h2("Article"))
    inline = [
        tags.a("a", href="/"), tags.abbr("abbr", title="t"), tags.b("b"), tags.bdi("bdi"), tags.bdo("bdo", dir="rtl"),
        tags.cite("cite"), tags.code("code"), tags.data("data", value=1), tags.del_("del"), tags.dfn("dfn"),
        tags.em("em"),
        tags.i("i"), tags.ins("ins"), tags.kbd("kbd"), tags.mark("mark"), tags.q("q"), tags.s("s"), tags.samp("samp"),
        tags.small("small"), tags.span("span"), tags.strong("strong"), tags.sub("sub"), tags.sup("sup"),
        tags.time("now", datetime="2030-01-31"), tags.u("u"), tags.var("var"), tags.br(), tags.wbr(),
        tags.output("output"),
        tags.ruby("漢", tags.rp("("), tags.rt("kan"), tags.rp(")")),
    ]  # fmt: skip
    article.p(inline)
    article.blockquote(tags.p("quote"), cite="https://example.org/")
    article.address("address")
    article.pre("\n  pre\n")
    article.hr()
    article.dl(tags.div(tags.dt("dt"), tags.dd("dd")))
    article.menu(tags.li("menu"))
    article.ol(tags.li("ol", value=3), reversed=True)
    main.aside(tags.h2("Aside"))
    main.section(tags.h2("Section"), tags.p("p"))
    body.nav(tags.a("nav", href="/"), aria_label="Main")
    body.footer("footer")
    body.add_comment("a -- b -->")
    return page


def embedded_page() -> Document:
    page = Document("Embedded")
    body = page.body
    body.h1("Embedded")
    body.img(src="/a.png", alt="a", usemap="#m", width=1, height=1)
    body.add("map", tags.area(shape="rect", coords="0,0,1,1", href="/", alt="x"), name="m", id="m")
    body.picture(tags.source(srcset="/b.webp", type="image/webp"), tags.img(src="/b.png", alt="b"))
    body.audio(tags.source(src="/a.ogg", type="audio/ogg"), controls=True)
    body.video(tags.track(src="/t.vtt", kind="captions", srclang="en", label="English"), src="/v.webm", controls=True)
    body.canvas("canvas", width=10, height=10)
    body.object(data="/o.svg", type="image/svg+xml")
    body.embed(src="/e.svg", type="image/svg+xml")
    body.iframe(src="/", title="frame")
    body.dialog(tags.p("dialog"), id="d")
    body.details(tags.summary("summary"), "details")
    body.template(tags.p("template"))
    body.slot("slot")
    body.datalist(tags.option(value="1"), id="list")
    form = body.add_form("/x")
    form.add_text("a", "A", list="list")
    form.add_select("b", "B", {"G": ["x"]}, prompt="none")
    form.add_checkbox("c", "C", True)
    form.add_file("f", "F", accept=".pem", multiple=True)
    form.add_hidden("h", "x")
    form.add_submit("Send")
    body.table(
        tags.caption("caption"),
        tags.colgroup(tags.col(span=2)),
        tags.thead(tags.tr(tags.th("a", scope="col"), tags.th("b", scope="col"))),
        tags.tbody(tags.tr(tags.td("1", colspan=2))),
        tags.tfoot(tags.tr(tags.td(), tags.td())),
    )
    drawing = body.add("svg", viewBox="0 0 10 10", role="img")
    drawing.add("title", "drawing")
    drawing.add("foreignObject", tags.p("text"), width=10, height=10)
    body.add("math", Element("mi", "x"))
    page.head.add_script("if (1 < 2 && 3) { }")
    page.head.add_style("p > b::after { content: '<'; }")
    page.head.add_data("data", {"</script>": ["<!--", "&"]})
    page.head.add_icon("/i.svg", type="image/svg+xml")
    page.head.add_script_module("/m.js")
    return page


@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", ["html", "xml"])
def test_all_pages_are_valid(tmp_path: Path, form: str) -> None:
    pages = {"gallery": build().encode(), "text": text_page().encode(), "embedded": embedded_page().encode()}
    pages["calls"] = calls_application.document(lambda handler: "/rpc").encode()
    for widget in WIDGETS:
        page = new_page(widget.__name__)
        page.body.add_heading(1, "Widget")
        widget(page.body.add_section("One", class_="card"))
        pages[widget.__name__] = page.encode()
    assert problems(pages, tmp_path, form) == []


def test_the_checker_would_find_a_mistake(tmp_path: Path) -> None:
    page = Document("t")
    page.body.ul(tags.p("x"))
    found = problems({"wrong": page.encode()}, tmp_path, "html")
    assert any("“p” not allowed as child of element “ul”" in message for message in found)
