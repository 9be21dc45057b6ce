"""What the builder makes is valid: for `check()`, and, as all pages that tests write, for the Nu HTML checker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import calls_application
import npm_package
import nu_validator
import pytest
import written_pages

from examples.gallery.gallery import WIDGETS, build, new_page
from framework.xhtml import Document, Element, tags

ROOT = Path(__file__).resolve().parents[2]


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


PAGES = {
    "gallery": build,
    "text": text_page,
    "embedded": embedded_page,
    "calls": lambda: calls_application.document(lambda handler: "/rpc"),
}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wrong_with_a_page_of_everything(name: str) -> None:
    page = PAGES[name]()
    assert page.encode()
    assert page.check() == []


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_nothing_is_wrong_with_a_widget(widget: Callable[[Element], None]) -> None:
    page = new_page(widget.__name__)
    page.body.add_heading(1, "Widget")
    widget(page.body.add_section("One", class_="card"))
    assert page.check() == []


TESTS = """
import pytest
from framework.errors import ErrorPage
from framework.xhtml import Document
from xhtml_twins import builder

def page_of(twin, text=""):
    with builder(twin) as xhtml:
        page = xhtml.Document("t")
        page.body.ul(xhtml.Element("p", twin, text))
        return page

def test_right(): assert str(Document("t"))
def test_text(): str(page_of("pure"))
def test_bytes(): page_of("compiled").encode()
def test_stream(): b"".join(page_of("pure", "streamed"))
def test_found_right(): assert Document("t", lang="no language").check() == []
def test_error_page(): ErrorPage(404, "").encode()
def test_left_half(): next(iter(page_of("pure")))
@pytest.mark.invalid_pages("on purpose")
def test_marked(): str(page_of("pure"))
def test_not_run(): Document("t", lang="nowhere").encode()
"""
CONFTEST = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("shared", {str(ROOT / "tests" / "conftest.py")!r})
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
globals().update((name, value) for name, value in vars(shared).items() if name.startswith("pytest_"))
"""


def run_of_its_own(folder: Path, tests: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest with the check at its end (tests/conftest.py)."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_pages.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-q"]
    command += ["-p", "no:cacheprovider", *options, str(folder)]
    # Where CI is set pytest says each message twice: it does not shorten those of its summary.
    left_out = (written_pages.FOLDER, "CI", "BUILD_NUMBER")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    environment = {**inherited, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.timeout(300)
def test_wrong_page_fails_the_test_that_wrote_it(tmp_path: Path) -> None:
    nu_validator.jar()
    done = run_of_its_own(tmp_path, TESTS, "-k", "not not_run")
    failed = re.findall(r"^FAILED \S*test_pages.py::(\w+)", done.stdout, re.MULTILINE)
    assert sorted(failed) == ["test_bytes", "test_found_right", "test_stream", "test_text"], done.stdout + done.stderr
    assert "4 failed, 8 passed, 1 deselected" in done.stdout
    assert done.stdout.count("as HTML: Element “p” not allowed as child of element “ul”") == 3
    assert done.stdout.count("as XML: Element “p” not allowed as child of element “ul”") == 3
    assert "as HTML: Bad value “no language” for attribute “lang”" in done.stdout
    assert done.returncode == 1


ONE = """
from framework.xhtml import Document
def test_page(): str(Document("t"))
def test_fails(): assert not "of its own"
"""


@pytest.mark.timeout(300)
def test_checker_that_fails_is_one_failure_beside_the_others(tmp_path: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("needs java")
    done = run_of_its_own(tmp_path, ONE, NU_VALIDATOR_JAR=str(tmp_path / "none.jar"))
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "The pages that tests wrote were not checked: the checker failed" in done.stdout
    assert "test_pages.py::test_fails" in done.stdout
    assert done.returncode == 1


@pytest.mark.timeout(300)
def test_checker_that_cannot_be_fetched_is_a_skip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which STRICT, in CI, makes a failure."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    monkeypatch.setattr(npm_package, "TOOLS", tmp_path)
    for name, value in {"registry": "http://127.0.0.1:9", "fetch_retries": "0"}.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    with pytest.raises(pytest.skip.Exception, match="npm did not fetch vnu-jar"):
        npm_package.installed("node", nu_validator.PACKAGE, "vnu-jar/build/dist/vnu.jar")
