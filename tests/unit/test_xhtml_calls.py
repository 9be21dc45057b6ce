"""A remote function as a button's or a form's action: what the page says, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from calls_application import proxy

from framework.xhtml import Document, Element


def page() -> Document:
    return Document("t", get_url=lambda handler: "/status/rpc" if handler is proxy else "?")


def test_button_says_what_it_calls() -> None:
    top = page()
    button = top.body.p().button("Restart")
    assert button.calls(proxy.restart, "nginx", 3, confirm="Sure?", done="Done", reload=True) is button
    assert button.attributes | {"data-call-at": "/status/rpc"} == button.attributes
    assert (button.get("type"), button.get("data-call")) == ("button", "restart")
    assert json.loads(button.get("data-arguments")) == ["nginx", 3]
    text = str(top)
    assert 'data-confirm="Sure?" data-done="Done" data-reload=""' in text
    assert '</button> <output class="result"></output>' in text
    assert text.count('<script type="module" src="/status/rpc?calls.') == 1
    assert " on" not in text.replace(" on the", "")
    assert top.check() == []


def test_module_is_loaded_once_and_makes_the_page_html() -> None:
    top = page()
    for _ in range(3):
        top.body.button("x").calls(proxy["restart"], "y")
    assert str(top).count("<script") == 1
    assert top.media_types[0] == "text/html"


def test_form_gives_its_fields() -> None:
    top = page()
    form = top.body.add_form()
    form.add_text("service", "Service")
    form.calls(proxy.restart, named={"service": "fixed"})
    assert form.get("data-fields") is True
    assert json.loads(form.get("data-named")) == {"service": "fixed"}
    assert form.elements[-1].tag == "output"


def test_shown_elsewhere() -> None:
    top = page()
    shown, bar = top.body.output(), top.body.progress()
    button = top.body.button("x").calls(proxy.disks.check, "sda", output=shown, progress=bar)
    assert (shown.id, bar.id) == ("result1", "result2")
    assert (button.get("data-output"), button.get("data-progress")) == ("result1", "result2")
    assert button.get("data-call") == "disks.check"
    assert len(top.find_all("output")) == 1


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda top: top.body.p().calls(proxy.restart), ValueError, "<p> calls nothing"),
        (lambda top: top.body.button("x").calls(len), TypeError, "no remote function"),
        (lambda top: top.body.button("x").calls(proxy.disks), ValueError, r"disks\.check"),
        (lambda top: top.body.button("x").calls(proxy.restart, object()), TypeError, "what JSON can say"),
        (lambda top: top.body.button("x").calls(proxy.restart, 2**60), TypeError, "too large"),
        (lambda top: top.body.button("x").calls(proxy.restart, float("nan")), TypeError, "what JSON can say"),
        (lambda top: top.body.button("x").calls(proxy.restart, 1, named={"a": 2}), ValueError, "not both"),
        (lambda top: top.body.add_form().calls(proxy.restart, 1), ValueError, "not both"),
        (lambda top: Element("button", "x").calls(proxy.restart), ValueError, "get_url"),
    ],
)
def test_what_cannot_be_called(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make(page())


def test_only_exported_names_are_there() -> None:
    for name in ("nothing", "_private", "__wrapped__", "disks.nothing"):
        with pytest.raises(AttributeError):
            proxy[name]
    with pytest.raises(AttributeError, match="not exported; there are restart"):
        proxy.shutdown  # noqa: B018
    assert not hasattr(proxy, "__xhtml__")
    assert proxy.limits.body_bytes  # its own
    assert repr(proxy["limits"]).startswith("<limits of <Proxy(")
