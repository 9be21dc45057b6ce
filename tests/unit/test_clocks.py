"""Deadlines are of the monotonic clock: the wall clock, which may jump, is asked only for what people read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOW = {
    "time": {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime", "CLOCK_REALTIME", "CLOCK_TAI"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
"""What gives the time of day. `strftime` and the like do so where they are given none."""

HEADERS = {"formatdate", "localtime", "format_datetime"}  # of email.utils

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
    "framework/headers.py": "a given time as text",
    "framework/frontends/gateway.py": "the time of a file as text",
    "examples/appliance/appliance/notes/store.py": "when a note was written",
    "examples/appliance/appliance/notes/pages.py": "when a note was written, as text",
    "examples/appliance/appliance/status/sampler.py": "the time of the figures",
    "examples/appliance/appliance/status/live.py": "the time of the figures, as text",
    "examples/appliance/appliance/status/remote.py": "when the kernel refused something",
}


def uses(source: str) -> Iterator[int]:
    """Lines that may ask for the time of day, however the name was imported."""
    tree = ast.parse(source)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name.rpartition(".")[2] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
            wanted = NOW["time"] if node.module == "time" else HEADERS if node.module == "email.utils" else set()
            if wanted & {alias.name for alias in node.names}:
                yield node.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, of = node.value, ""
            if isinstance(owner, ast.Name):
                of = names.get(owner.id, "")
            elif isinstance(owner, ast.Attribute):
                of = owner.attr if owner.attr != "time" else ""
            if node.attr in NOW.get(of, ()):
                yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as clock\nclock.time_ns()",
        "from time import time",
        "from time import time as now",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime as moment\nmoment.utcnow()",
        "from datetime import date\ndate.today()",
        "import time\ntime.clock_gettime(time.CLOCK_REALTIME)",
        "from email.utils import formatdate",
    ],
)
def test_a_look_at_the_wall_clock_is_found_however_it_is_written(source: str) -> None:
    assert list(uses(source))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "from time import monotonic",
        "import time\ntime.sleep(1)",
        "class A:\n    def now(self): pass\nA().now()",
        "figures.time",
    ],
)
def test_other_clocks_are_left_alone(source: str) -> None:
    assert not list(uses(source))


def test_the_wall_clock_is_asked_only_for_what_people_read() -> None:
    files = [path for part in ("fastcore", "framework", "examples") for path in (ROOT / part).rglob("*.py")]
    asking = {str(path.relative_to(ROOT)): list(uses(path.read_text("utf-8"))) for path in files}
    others = {name: lines for name, lines in asking.items() if lines and name not in ASKED}
    assert others == {}


@pytest.mark.parametrize("folder", ["fastcore", "framework"])
def test_the_compiled_modules_ask_it_for_nothing(folder: str) -> None:
    modules = [path for ending in ("*.pyx", "*.pxd") for path in (ROOT / folder).rglob(ending)]
    assert modules
    for path in modules:
        text = path.read_text("utf-8")
        assert not re.search(r"CLOCK_REALTIME|CLOCK_TAI|gettimeofday|\btime\.time|\btime_t\b|\btime\(NULL\)", text), (
            path
        )
