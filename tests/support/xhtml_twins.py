"""The page builder twice in one process: once on the compiled tree, once on its pure twin."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from fastcore import implementation

PACKAGE = "framework.xhtml"
_copies: dict[str, dict[str, ModuleType]] = {}


def _ours() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if f"{name}.".startswith(f"{PACKAGE}.")}


@contextmanager
def builder(twin: str) -> Iterator[Any]:
    """`framework.xhtml` on one twin: the one that this process runs on, or a copy for the other twin, to which all
    belongs that is imported meanwhile. (A compiled module can be there only once.)
    """
    if importlib.import_module(f"{PACKAGE}.implementation").chosen == twin:
        yield importlib.import_module(PACKAGE)
        return
    if twin == "compiled" and importlib.util.find_spec("framework.xhtml.compiled.tree") is None:
        pytest.skip("the compiled modules are not built (make build)")
    before, chosen = _ours(), implementation.chosen
    framework = sys.modules["framework"]
    for name in before:
        del sys.modules[name]
    sys.modules.update(_copies.get(twin, {}))
    implementation.chosen = twin  # type: ignore[assignment]
    try:
        module = importlib.import_module(PACKAGE)
        assert importlib.import_module(f"{PACKAGE}.implementation").chosen == twin
        framework.xhtml = module
        yield module
    finally:
        _copies[twin] = _ours()
        for name in _copies[twin]:
            del sys.modules[name]
        sys.modules.update(before)
        implementation.chosen = chosen
        framework.xhtml = before[PACKAGE]
