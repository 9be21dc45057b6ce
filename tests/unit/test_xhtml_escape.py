"""Nothing that a user typed becomes markup, whatever context it stands in."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as etree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xhtml_payloads import PAYLOADS, page_with

from framework.xhtml import Document, Element, Trusted
from framework.xhtml.escape import REFUSED_URL, json_data, url

html5lib = pytest.importorskip("html5lib")


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


@pytest.mark.invalid_pages("the text stands in ids, URLs and style rules, too")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_stays_text_in_every_context(payload: str) -> None:
    data = page_with(payload).encode()
    assert executable(etree.fromstring(data)) == []
    assert executable(html5lib.parse(data, transport_encoding="utf-8")) == []


@pytest.mark.invalid_pages("the text stands in ids, URLs and style rules, too")
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
    page.body.add("textarea", payload.lstrip("\r\n"))
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
    assert not set(text) & set("<>&\u2028\u2029\x00\x7f\x85\U0001ffff")
    assert json.loads(text) == value
    page = Document("t")
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
    page = Document("t")
    page.head.add_script("if (1 < 2 && 3) { run(); }")
    page.head.add_style("a > b { content: '&'; }")
    for tree in (etree.fromstring(page.encode()), html5lib.parse(page.encode(), transport_encoding="utf-8")):
        script = next(node for node in tree.iter() if str(node.tag).endswith("}script"))
        style = next(node for node in tree.iter() if str(node.tag).endswith("}style"))
        assert "if (1 < 2 && 3) { run(); }" in script.text.splitlines()
        assert "a > b { content: '&'; }" in style.text.splitlines()


@pytest.mark.parametrize(
    "text",
    ["\x00", "\x08", "\x0b", "\x1f", "\x7f", "\x80", "\x85", "\x9f", "\ufdd0", "\ufdef", "\ufffe", "\uffff", "\ud800",
     "\U0001fffe", "\U0010ffff"],
)  # fmt: skip
def test_character_that_xml_or_html_forbids_becomes_the_replacement_character(text: str) -> None:
    element = Element("p", f"a{text}b", title=f"a{text}b")
    assert str(element) == '<p title="a\ufffdb">a\ufffdb</p>'
    assert element.encode() == str(element).encode()
    assert b"".join(element) == element.encode()


@pytest.mark.parametrize("text", ["\xa0", "°", "\u0100", "\ufdcf", "\ufdf0", "\ufffd", "\U0001fffd", "\U00020000"])
def test_character_beside_a_forbidden_one_stays(text: str) -> None:
    assert Element("p", text, title=text).encode() == f'<p title="{text}">{text}</p>'.encode()


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
