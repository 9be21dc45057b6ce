"""Deadlines are of the monotonic clock: the wall clock, which may jump, is asked only for what people read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("time", "localtime")}

ASKED = {
    "framework/process/sinks.py": "the time of a log line",
    "framework/process/supervisor.py": "since when a part is in its state, for status",
    "framework/process/starting.py": "since when a part is in its state, for status",
    "framework/process/reloading.py": "since when a part is in its state, for status",
    "framework/process/ondemand.py": "since when a part is in its state, for status",
    "framework/process/child.py": "since when a part is in its state, for status",
    "framework/process/development.py": "since when a part is in its state, for its page",
    "framework/process/doctor.py": "when it looked",
    "framework/site/certificates.py": "whether a certificate is valid",
    "framework/cli/status.py": "how long ago `since` was",
    "framework/cli/dev.py": "when it began",
}


def uses(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in WALL:
            yield node.lineno


def test_the_wall_clock_is_asked_only_for_what_people_read() -> None:
    files = [path for part in ("fastcore", "framework") for path in (ROOT / part).rglob("*.py")]
    asking = {str(path.relative_to(ROOT)): list(uses(path)) for path in files}
    others = {name: lines for name, lines in asking.items() if lines and name not in ASKED}
    assert others == {}


def test_the_compiled_core_asks_it_for_nothing() -> None:
    for path in (ROOT / "fastcore").rglob("*.pyx"):
        text = path.read_text("utf-8")
        assert "CLOCK_REALTIME" not in text, path
        assert "gettimeofday" not in text, path
        assert "time.time(" not in text, path
