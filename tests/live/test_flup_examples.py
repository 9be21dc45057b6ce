"""The examples of docs/migrating-from-flup.md serve and end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastcore.client import Client, cgi_params

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "migrating-from-flup.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_example_serves_and_ends(tmp_path, twin_environment, number):
    script = tmp_path / "script.py"
    script.write_text(BLOCKS[number].replace("/run/app.sock", str(tmp_path / "s")).replace("bottle.run(", BOTTLE))
    environment = {**twin_environment, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(tmp_path / "s", process)
        with Client(f"unix:{tmp_path / 's'}") as client:
            assert client.request(cgi_params("GET", "/app", script_name="/app")).body == b"Hello from /app"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


BOTTLE = """\
@bottle.route("/<path:re:.*>")
def hello(path):
    return "Hello from /app"

bottle.run("""


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < end, "it does not listen"
        time.sleep(0.02)
