"""What `bench/router.py` makes of its figures: the targets judged, the tables of docs/router.md."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"

OUTCOME: dict[str, Any] = {
    "build": {"build_ms": 120.0, "memory_mb": 2.4},
    "growth": {"ns": {"10": 250.0, "10000": 370.0}, "factor": 1.48},
    "url": {"fastcore": 1000.0, "werkzeug": 5500.0, "django": 20000.0},
    "match": {1000: {"fastcore": 400.0, "routrie": 1000.0, "falcon": 9000.0, "sequential re": 100_000.0}},
    "miss": {1000: {"fastcore": 300.0}},
}


@pytest.fixture(scope="module")
def targets() -> Iterator[Any]:
    before = set(sys.modules)
    sys.path.insert(0, str(BENCH))
    yield importlib.import_module("router_targets")
    sys.path.remove(str(BENCH))
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", "") and str(BENCH) in str(sys.modules[name].__file__):
            del sys.modules[name]


def verdicts(targets: Any, outcome: dict[str, Any], recorded: dict[str, float]) -> list[str]:
    return [row.verdict for row in targets.judge(outcome, recorded)]


def test_each_target_is_judged_by_the_run(targets: Any) -> None:
    assert verdicts(targets, OUTCOME, {"10": 2400.0}) == ["ok"] * 10
    slow = OUTCOME | {
        "build": {"build_ms": 150.1, "memory_mb": 8.1},
        "growth": {"ns": {}, "factor": 1.501},
        "url": {"fastcore": 1000.0, "werkzeug": 4999.0, "django": 9999.0},
        "match": {"1000": {"fastcore": 501.0, "routrie": 1000.0, "falcon": 2500.0, "sequential re": 100_000.0}},
        "miss": {"1000": {"fastcore": 502.0}},
    }
    assert verdicts(targets, slow, {}) == ["missed"] * 10


def test_what_was_not_measured_is_neither(targets: Any) -> None:
    assert verdicts(targets, {}, {"10": 2400.0}) == ["not measured"] * 9 + ["ok"]
    without_peers = OUTCOME | {"match": {1000: {"fastcore": 400.0}}}
    assert verdicts(targets, without_peers, {})[:5] == ["not measured"] * 3 + ["ok", "ok"]


def test_the_page_has_the_run_that_is_kept(targets: Any) -> None:
    outcome = json.loads((BENCH / "results" / "router.json").read_text())
    recorded = json.loads((BENCH / "results" / "router-instructions.json").read_text())
    page = targets.PAGE.read_text("utf-8")
    shown = page[page.index(targets.BEGIN) + len(targets.BEGIN) : page.index(targets.END)]
    assert shown.strip() == targets.render(outcome, recorded), "python bench/router.py --docs writes it"
