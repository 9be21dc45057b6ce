"""What docs/router.md shows is what the router says."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path
from typing import Any

import pytest

from fastcore.routing import Router, ShadowedError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "router.md").read_text("utf-8")


def first_example() -> dict[str, Any]:
    block = re.search(r"^```python\n(.*?)^router\.match", PAGE, re.MULTILINE | re.DOTALL)
    assert block is not None
    namespace: dict[str, Any] = {}
    exec(block[1], namespace)
    return namespace


def test_the_first_example_does_what_its_comments_say() -> None:
    router = first_example()["router"]
    assert router.match("/users/7/") == ("user", {"id": "7"})
    assert router.url("user", id=7) == "/users/7/"
    with pytest.raises(ShadowedError, match=r"'/users/7/' is taken by <route 1:"):
        router.url("user-by-name", name="7")


def test_sessions_print_what_is_shown() -> None:
    rows = json.loads((ROOT / "tests" / "data" / "urls_pretix.json").read_text())["routes"]
    pretix = Router([(pattern, target) for pattern, target, *_ in rows])
    assert f"({len(rows)} patterns" in PAGE
    assert f"{len(pretix.unreachable())} routes can never win and {len(pretix.overlaps())} pairs compete" in PAGE
    session = doctest.DocTestParser().get_doctest(PAGE, first_example() | {"pretix": pretix}, "router.md", None, 0)
    assert len(session.examples) == 3
    told: list[str] = []
    assert doctest.DocTestRunner(verbose=False).run(session, out=told.append).failed == 0, "".join(told)


def test_the_drawing_is_that_of_the_first_example() -> None:
    assert (ROOT / "docs" / "router.svg").read_text("utf-8") == first_example()["router"].drawing()


def test_the_demo_has_the_routes_that_are_shown() -> None:
    shown = re.findall(r"^      route \d '(/.*?)':", PAGE[PAGE.index("The demo's two tables") :], re.MULTILINE)
    source = "".join(path.read_text("utf-8") for path in (ROOT / "examples" / "appliance").rglob("*.py"))
    assert shown
    assert [pattern for pattern in shown if pattern not in source] == []
