"""The one place that chooses between the compiled tree and its pure-Python twin, as `fastcore.implementation` does.

`FASTCORE_PURE=1` picks the twin. `FASTCORE_REQUIRE_COMPILED=1` fails loudly where the compiled module is missing; else
the twin takes its place.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING

from fastcore import implementation

if TYPE_CHECKING:
    from framework.xhtml.pure import tree as tree

ROOMS = ("tree",)


def _choose() -> implementation.TwinName:
    required = os.environ.get("FASTCORE_REQUIRE_COMPILED", "0") not in ("", "0")
    there = importlib.util.find_spec("framework.xhtml.compiled.tree") is not None
    return implementation.chosen if there or required else "pure"


chosen = _choose()
accelerated: bool = chosen == "compiled"

if not TYPE_CHECKING:
    tree = importlib.import_module(f"framework.xhtml.{chosen}.tree")
