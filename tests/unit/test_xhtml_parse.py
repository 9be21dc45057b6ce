"""Text that is parsed is the same tree again; what is hostile or broken is refused in clear words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.xhtml import Document, Element
from framework.xhtml import parse as parse_module
from framework.xhtml.parse import ParseError, parse_document, parse_fragment

justhtml = pytest.importorskip("justhtml")


def everything() -> Document:
    page = Document("A & B", class_="x")
    page.head.add_style("a > b { color: red }")
    page.body.add_comment("note")
    page.body.add_list(["a", ["b"]])
    page.body.add("pre", "  x\n")
    page.body.add_line_chart([1, 2, None, 3], label="L")
    form = page.body.add_form("/x", values={"t": "line\nline"})
    form.add_textarea("t", "T")
    form.add_select("s", "S", ["a", "b"], "b")
    page.body.add_table([("a", 1)], headings=["x", "y"])
    page.body.add("svg", Element("foreignObject", Element("p", "in")), viewBox="0 0 1 1")
    return page


@pytest.mark.parametrize("form", ["xhtml", "html"])
def test_page_comes_back_the_same(form: str) -> None:
    data = everything().encode()
    page = parse_document(data, form=form)
    assert page.encode() == data
    assert parse_document(data.decode(), form=form).encode() == data


def test_parsed_page_can_be_changed() -> None:
    page = parse_document(everything().encode())
    page.title = "new"
    page.head.add_stylesheet("/x.css")
    page.find("table").add_class("wide")  # type: ignore[union-attr]
    page.body.add_form().add_text("a", "A")
    text = str(page)
    assert "<title>new</title>" in text
    assert '<table class="wide">' in text


@pytest.mark.parametrize("form", ["xhtml", "html"])
def test_fragment(form: str) -> None:
    fragment = parse_fragment("a <b class='x'>b</b> &amp; <br/><i>c</i>", form=form)
    assert str(fragment) == 'a <b class="x">b</b> &amp; <br/><i>c</i>'
    assert str(Element("p", fragment)) == '<p>a <b class="x">b</b> &amp; <br/><i>c</i></p>'


def test_html_that_is_no_xml_becomes_both() -> None:
    text = "<P onclick=x()>one<p>two<br><table><tr><td>3</table><o:p>office</o:p>"
    assert str(parse_fragment(text, form="html")) == (
        "<p>one</p><p>two<br/></p><table><tbody><tr><td>3</td></tr></tbody></table><span>office</span>"
    )


@pytest.mark.parametrize("form", ["xhtml", "html"])
def test_scripts_are_left_out_unless_trusted(form: str) -> None:
    text = '<p onclick="x()">a<script>if (a) b();</script><a href="javascript:x()">b</a></p>'
    assert str(parse_fragment(text, form=form)) == '<p>a<a href="about:invalid#refused">b</a></p>'
    assert str(parse_fragment(text, form=form, trusted=True)) == text


def test_rich_text_of_users_is_sanitised() -> None:
    text = '<p style="position:fixed">a<iframe src="//x"></iframe><input name=x><b onclick="x()">c</b></p>'
    assert str(parse_fragment(text, form="html", sanitize=True)) == "<p>a<b>c</b></p>"
    with pytest.raises(ValueError, match="html"):
        parse_fragment("<p/>", sanitize=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<p>", "line 1, column .*: mismatched tag"),
        ("a\n<p></q>", "line 2"),
        ("&nope;", "undefined entity"),
        ("<p xmlns='urn:x'/>", "namespace 'urn:x'"),
        ("<x:p/>", "unbound prefix"),
        ("<plaintext>x</plaintext>", "obsolete"),
        ("\ud800", "surrogate"),
        ("\x00", "not well-formed"),
    ],
)
def test_broken_text_says_where(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_fragment(text)


def test_document_type_declares_nothing() -> None:
    bomb = "<!DOCTYPE html [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><html><body>&b;</body></html>"
    with pytest.raises(ParseError, match="may not declare"):
        parse_document(bomb)
    outside = "<!DOCTYPE html [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><html><body>&a;</body></html>"
    with pytest.raises(ParseError, match="may not declare"):
        parse_document(outside)
    with pytest.raises(ParseError, match="no <html>"):
        parse_document("<p/>")
    with pytest.raises(ValueError, match="form"):
        parse_document("<html/>", form="sgml")


@pytest.mark.parametrize("form", ["xhtml", "html"])
def test_limits(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = parse_module.MAX_DEPTH
    assert parse_fragment("<div>" * depth + "</div>" * depth, form=form)
    with pytest.raises(ParseError, match="deeper"):
        parse_fragment("<div>" * (depth + 1) + "</div>" * (depth + 1), form=form)
    monkeypatch.setattr(parse_module, "MAX_NODES", 10)
    with pytest.raises(ParseError, match="more than 10"):
        parse_fragment("<b>x</b>" * 6, form=form)
    monkeypatch.setattr(parse_module, "MAX_BYTES", 10)
    assert parse_fragment("1234567890", form=form)
    with pytest.raises(ParseError, match="at most 10"):
        parse_fragment("12345678901", form=form)


@given(st.text(st.sampled_from("<>/=\"'&;!-[]abpsvgx \n\x00\ud800?:"), max_size=60) | st.binary(max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_gives_a_tree_or_a_parse_error(text: str | bytes) -> None:
    for form in ("xhtml", "html"):
        try:
            fragment = parse_fragment(text, form=form)
        except ParseError:
            continue
        written = str(fragment)
        assert str(parse_fragment(written)) == written
