"""Nothing that a user typed becomes markup, whatever context it stands in."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as etree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.xhtml import Document, Element, Trusted
from framework.xhtml.escape import REFUSED_URL, json_data, url

html5lib = pytest.importorskip("html5lib")

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "--!><script>alert(1)</script>",
    "-->",
    "<!--",
    "<![CDATA[<script>alert(1)</script>]]>",
    "]]><script>alert(1)</script>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " \t\n javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "javascript&colon;alert(1)",
    "&#106;avascript:alert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "` onload=alert(1)",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<a href=javascript:alert(1)>x</a>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "\u2028alert(1)\u2029",
    "{{constructor.constructor('alert(1)')()}}",
    "\ud800<script>alert(1)</script>",
    "\x00<script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<?xml-stylesheet href='javascript:alert(1)'?>",
    "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>&a;",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
]


def page_with(payload: str) -> Document:
    """A page with the same text in every place that text can come to."""
    page = Document(payload, description=payload)
    page.head.add_data("data", {payload: [payload]})
    page.head.add_meta("keywords", payload)
    page.head.add_icon(payload)
    body = page.body
    body.add_heading(1, payload)
    body.add_comment(payload)
    body.add("p", payload, title=payload, class_=payload, data_x=payload, aria_label=payload, style={"width": payload})
    body.add("pre", payload)
    body.add_anchor(payload, payload)
    body.add_navigation([(payload, payload)], label=payload, current=payload)
    body.add_image(payload, payload)
    body.add_list([payload, [payload]])
    body.add_definition_list({payload: payload})
    body.add_details(payload, payload)
    body.add_progress(payload, 0.5)
    body.add_status(payload)
    body.add_figure(payload, payload)
    body.add_table(
        [(payload, payload)],
        headings=(payload, payload),
        caption=payload,
        footers=[payload],
        row_class=str,
        row_id=str,
        row_header=0,
    )
    body.add_table([{payload: payload}])
    body.add_line_chart({payload: [1, 2]}, label=payload, unit=payload, start=payload, end=payload)
    body.add_bar_chart({payload: 1}, label=payload, unit=payload)
    body.add_sparkline([1], label=payload)
    form = body.add_form(payload, values={"a": payload, "t": payload}, errors={"a": payload, payload: payload})
    form.add_text("a", payload, help=payload, placeholder=payload)
    form.add_textarea("t", payload)
    form.add_select("s", payload, {payload: [(payload, payload)]}, payload)
    form.add_radio_group(payload, payload, [payload])
    form.add_checkbox(payload, payload)
    form.add_hidden(payload, payload)
    form.add_error_summary()
    form.add_submit(payload, name=payload, value=payload, formaction=payload)
    drawing = body.add("svg", Element("title", payload), Element("style", payload))
    drawing.add("a", Element("set", attributeName="href", to=payload), href=payload)
    body.add("meta", http_equiv="refresh", content=f"0;url={payload}")
    return page


def executable(tree: Any) -> list[str]:
    """All that a browser would run in a parsed page."""
    found = []
    for node in tree.iter():
        if not isinstance(node.tag, str):
            continue
        tag = node.tag.rpartition("}")[2].lower()
        if tag == "script" and node.get("type") != "application/json":
            found.append(tag)
        if tag in ("iframe", "base", "object", "embed", "foreignobject"):
            found.append(tag)
        for name, value in node.attrib.items():
            name = name.rpartition("}")[2].lower()
            if name.startswith("on") or name == "srcdoc":
                found.append(name)
            seen = re.sub(r"[\t\r\n]", "", value).lstrip("".join(map(chr, range(33)))).lower()
            if re.match(r"(javascript|vbscript|data):", seen) and name in (
                *("href", "src", "action", "formaction", "to", "poster"),
            ):
                found.append(f"{name}={value}")
            refresh = tag == "meta" and node.get("http-equiv") == "refresh"
            if refresh and name == "content" and re.match(r"0;\s*(url\s*=)?\s*['\"]?(javascript|data):", seen):
                found.append(value)
    return found


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_stays_text_in_every_context(payload: str) -> None:
    data = page_with(payload).encode()
    assert executable(etree.fromstring(data)) == []
    assert executable(html5lib.parse(data, transport_encoding="utf-8")) == []


@given(st.text())
@settings(max_examples=40, deadline=None)
def test_any_text_stays_text_in_every_context(text: str) -> None:
    assert executable(etree.fromstring(page_with(text).encode())) == []


@given(st.text(max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_text_stays_text_for_an_html_parser(text: str) -> None:
    payload = f"{text}<script>alert(1)</script>{text}"
    page = Document(payload)
    page.body.add("p", payload, title=payload)
    page.body.add_comment(payload)
    page.body.add("textarea", payload)
    assert executable(html5lib.parse(page.encode(), transport_encoding="utf-8")) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_data_for_scripts_comes_back_equal(value: Any) -> None:
    text = json_data(value)
    assert not set(text) & set("<>&\u2028\u2029\x00")
    assert json.loads(text) == value
    page = Document()
    page.head.add_data("d", value)
    script = etree.fromstring(page.encode()).find(".//*[@id='d']")
    assert script is not None
    assert json.loads(script.text or "") == value


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("/disks?a=1&b=2", "/disks?a=1&amp;b=2"),
        ("https://example.org/", "https://example.org/"),
        ("mailto:a@example.org", "mailto:a@example.org"),
        ("#javascript:", "#javascript:"),
        ("/javascript:alert(1)", "/javascript:alert(1)"),
        ("", ""),
        ("javascript:alert(1)", REFUSED_URL),
        ("data:text/html,x", REFUSED_URL),
    ],
)
def test_url_is_written_or_refused(address: str, written: str) -> None:
    assert str(Element("a", "x", href=address)) == f'<a href="{written}">x</a>'


def test_image_data_may_stand_in_an_image_only() -> None:
    assert url("data:image/png;base64,AAAA", image=True).startswith("data:")
    assert url("data:text/html,x", image=True) is REFUSED_URL
    assert 'src="data:image/png;base64,AAAA"' in str(Element("img", src="data:image/png;base64,AAAA", alt=""))
    assert "data:" not in str(Element("a", "x", href="data:image/svg+xml,<svg/>"))


def test_code_needs_to_be_trusted() -> None:
    with pytest.raises(ValueError, match="Trusted"):
        str(Element("button", "x", onclick="run()"))
    assert str(Element("button", "x", onclick=Trusted("run('a')"))) == '<button onclick="run(&#39;a&#39;)">x</button>'
    with pytest.raises(ValueError, match="Trusted"):
        str(Element("iframe", srcdoc="<p>x</p>"))
    assert "&lt;p&gt;&amp;lt;" in str(Element("iframe", srcdoc=Element("p", "<")))
    assert 'href="javascript:x()"' in str(Element("a", "x", href=Trusted("javascript:x()")))


@pytest.mark.parametrize("text", ["a </script> b", "<!-- x", "<SCRIPT>", "a[b[0]]>c"])
def test_script_that_would_end_early_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        str(Element("script", text))


def test_script_and_style_mean_the_same_in_both_forms() -> None:
    page = Document()
    page.head.add_script("if (1 < 2 && 3) { run(); }")
    page.head.add_style("a > b { content: '&'; }")
    for tree in (etree.fromstring(page.encode()), html5lib.parse(page.encode(), transport_encoding="utf-8")):
        script = next(node for node in tree.iter() if str(node.tag).endswith("}script"))
        style = next(node for node in tree.iter() if str(node.tag).endswith("}style"))
        assert "if (1 < 2 && 3) { run(); }" in script.text.splitlines()
        assert "a > b { content: '&'; }" in style.text.splitlines()


@pytest.mark.parametrize("text", ["\x00", "\x08", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_character_that_xml_forbids_becomes_the_replacement_character(text: str) -> None:
    element = Element("p", f"a{text}b", title=f"a{text}b")
    assert str(element) == '<p title="a\ufffdb">a\ufffdb</p>'
    assert element.encode() == str(element).encode()
    assert b"".join(element) == element.encode()


def test_line_ends_are_one_character_everywhere() -> None:
    assert str(Element("p", "a\r\nb\rc\nd")) == "<p>a\nb\nc\nd</p>"
    assert str(Element("p", title="a\r\nb\tc")) == '<p title="a&#10;b&#9;c"></p>'


def test_bytes_and_dicts_are_no_content() -> None:
    with pytest.raises(TypeError, match="decode"):
        Element("p", b"x")
    with pytest.raises(TypeError, match="dict"):
        Element("p", {"a": 1})
    with pytest.raises(TypeError, match="bytes"):
        str(Element("p", title=b"x"))
