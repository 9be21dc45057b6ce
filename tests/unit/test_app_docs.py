"""The Python examples of docs/framework.md, docs/rpc.md and docs/async.md run as they stand, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", ["framework.md", "rpc.md", "async.md"])
def test_the_examples_run(name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) >= 3
    namespace: dict[str, Any] = {"__name__": "example"}
    for block in blocks:
        line = text.count("\n", 0, block.start(1))
        code = compile("\n" * line + block[1], str(DOCS / name), "exec", dont_inherit=True)
        exec(code, namespace)


def test_the_limits_are_documented_as_they_are() -> None:
    from framework import Limits
    from framework.rpc import CallLimits

    framework_page = (DOCS / "framework.md").read_text("utf-8")
    rpc_page = (DOCS / "rpc.md").read_text("utf-8")
    for limits, page in ((Limits(), framework_page), (CallLimits(), rpc_page)):
        for limit in limits.__slots__:
            assert f"`{limit}`" in page
