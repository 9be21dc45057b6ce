"""Each line of the checklist has a test, and docs/conformance.md names the tests that there are."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance", ROOT / "scripts" / "conformance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conformance"] = module
    spec.loader.exec_module(module)
    return module


def test_every_line_and_every_known_defect_has_a_test(conformance: ModuleType) -> None:
    assert sorted(conformance.LINES) == list(range(1, 65))
    assert conformance.without_test() == []


def test_the_document_names_the_tests_that_there_are(conformance: ModuleType) -> None:
    """`make conformance` writes it; those that need web servers may be left out there, and be missing here."""
    written = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "conformance.md").read_text("utf-8")))
    tests = list(conformance.numbered_tests())
    assert written <= {test.name for test in tests}
    assert {test.name for test in tests if not test.path.startswith("live/")} <= written
