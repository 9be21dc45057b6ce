"""The guide to pages is true: its examples run, it names every widget, and what it names is there."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from app_caller import call

from framework import App
from framework.rpc import Progress
from framework.xhtml import Document, Element, Form, Fragment, tags
from framework.xhtml.document import Head

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "xhtml.md").read_text("utf-8")


def blocks(path: str) -> list[str]:
    """The Python examples of a page, without the gallery, whose source is in examples/gallery."""
    text = (ROOT / path).read_text("utf-8").partition("<!-- gallery")[0]
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def restart(service: str) -> str:
    return service


def copy() -> Any:
    yield Progress(1, 2, "half")


def add_user(name: str, quota: int = 0) -> None: ...


def test_the_examples_of_the_guide_run() -> None:
    shown = blocks("docs/xhtml.md")
    assert len(shown) >= 3
    request = SimpleNamespace(get_url=lambda handler, **params: "/there")
    disks = [{"name": "sda", "mounted_at": "/", "used": 0.42}]
    page = Document("Components")
    names: dict[str, Any] = {
        "request": request, "read_disks": lambda: disks, "restart": restart, "copy": copy, "add_user": add_user,
        "dataclass": dataclass, "tags": tags, "__name__": "example",
    }  # fmt: skip
    for block in shown:
        if "Badge" in block:
            names["page"] = page
        exec(compile(block, "docs/xhtml.md", "exec", dont_inherit=True), names)
        if "services" in block:
            assert names["page"].check() == []
    assert names["disks"](request).check() == []
    assert '<p>State: <span class="badge success">running</span></p>' in str(page)


def test_the_smallest_example_is_a_page_and_stands_in_the_readme() -> None:
    path = ROOT / "examples" / "hello" / "hello.py"
    (block,) = (block for block in blocks("README.md") if "Document" in block)
    assert block in path.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(path.read_text("utf-8"), path, "exec", dont_inherit=True), names)
    answer = call(names["app"], "/", headers={"Accept": "text/html"})
    assert answer.status == 200
    assert "<h1>" in answer.text


PUBLIC = {
    name
    for kind in (Element, Head, Form, Document)
    for name, _ in inspect.getmembers(kind, callable)
    if name.startswith(("add_", "set_"))
}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_widget_is_in_the_guide(name: str) -> None:
    assert re.search(rf"\b{name}\b", GUIDE)


def test_what_the_guide_names_is_there() -> None:
    named = set(re.findall(r"\badd_[a-z_]+\b", GUIDE)) - {"add_user"}
    assert named - PUBLIC == set()


def test_a_part_of_a_page_is_an_answer() -> None:
    app = App([("/part$", lambda request: Fragment(tags.dt("CPU"), tags.dd("12 %")))])
    answer = call(app, "/part")
    assert answer.get("Content-Type") == "text/html; charset=utf-8"
    assert answer.text == "<dt>CPU</dt><dd>12 %</dd>"
