"""docs/migrating-from-flup.md: its examples are Python, its names exist, and no option is left out."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from fastcore.flup.options import MEANINGLESS
from fastcore.flup.server import fcgi, fcgi_fork
from fastcore.flup.server.fcgi_base import _NOT_CALLED, OPTIONS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "migrating-from-flup.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_every_option_is_in_the_tables():
    named = {name for row in re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    parameters = {*inspect.signature(fcgi.WSGIServer).parameters, *inspect.signature(fcgi_fork.WSGIServer).parameters}
    assert {*parameters, *OPTIONS, *MEANINGLESS} - {"options"} <= named


def test_what_a_subclass_may_not_have_is_named():
    assert all(f"`{name}`" in TEXT for name in _NOT_CALLED)


def test_all_examples_are_python():
    assert len(BLOCKS) == 2
    for block in BLOCKS:
        ast.parse(block)
