"""Which twin runs is what was asked for: proved by the files that the modules were loaded from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, sys
import fastcore
from fastcore import implementation
from framework.xhtml import implementation as pages
rooms = {room: getattr(implementation, room).__file__ for room in implementation.ROOMS}
rooms |= {f"xhtml.{room}": getattr(pages, room).__file__ for room in pages.ROOMS}
loaded = sorted(name for name in sys.modules if name.startswith(("fastcore.compiled.", "framework.xhtml.compiled.")))
print(json.dumps({"accelerated": fastcore.accelerated, "rooms": rooms, "compiled": loaded}))
"""
SWITCHES = ("FASTCORE_PURE", "FASTCORE_REQUIRE_COMPILED")


def what_runs(**switches: str) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES} | switches
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_pure_switch_loads_no_compiled_module() -> None:
    found = what_runs(FASTCORE_PURE="1")
    assert found["accelerated"] is False
    assert found["compiled"] == []
    assert all(file.endswith(".py") for file in found["rooms"].values())


def test_compiled_modules_are_the_ones_loaded() -> None:
    if not list((ROOT / "fastcore" / "compiled").glob("*.so")):
        pytest.skip("the compiled modules are not built (make build)")
    found = what_runs(FASTCORE_REQUIRE_COMPILED="1")
    assert found["accelerated"] is True
    assert all(file.endswith(".so") for file in found["rooms"].values())


def test_this_run_is_on_the_twin_that_it_says() -> None:
    from fastcore import implementation

    asked_for_pure = os.environ.get("FASTCORE_PURE", "0") not in ("", "0")
    for room in implementation.ROOMS:
        file = getattr(implementation, room).__file__
        assert file.endswith(".so") is (implementation.accelerated and not asked_for_pure), file
