"""docs/states.md and its drawing are what a connection of either twin does today."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def states() -> ModuleType:
    spec = importlib.util.spec_from_file_location("states", ROOT / "scripts" / "states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["states"] = module
    spec.loader.exec_module(module)
    return module


def test_the_states_of_this_twin_are_the_documented_ones(states: ModuleType, twin) -> None:
    """Where this fails after a change that is meant: python scripts/states.py."""
    machine = states.explore(twin)
    assert states.document(machine) == states.DOCUMENT.read_text("utf-8")
    assert states.drawing(machine) == states.DRAWING.read_text("utf-8")


def test_every_state_of_the_specification_is_reached(states: ModuleType, twin) -> None:
    reached = {state.name.partition(",")[0] for state in states.explore(twin).states}
    assert set(states.STATES.values()) <= reached
    assert set(states.PHASES.values()) == {state.phase for state in states.explore(twin).states}
