"""Node beside a test: the served module as a file, scripts that use it, and a process that hands values back."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest

from framework.rpc import module, wire

NODE = shutil.which("node") or shutil.which("nodejs")
needs_node = pytest.mark.skipif(NODE is None, reason="needs nodejs")


def run(folder: Path, served: bytes, script: str) -> Any:
    """What `script`, an ES module beside `served` (served.mjs), writes as JSON."""
    assert NODE is not None
    (folder / "served.mjs").write_bytes(served)
    (folder / "script.mjs").write_text(script)
    done = subprocess.run([NODE, str(folder / "script.mjs")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Echo:
    """A process that decodes each line by the module's `decode`, and writes what `encode` makes of the value."""

    def __init__(self, folder: Path, change: str = "value") -> None:
        assert NODE is not None
        (folder / "client.mjs").write_text(module.read_client())
        (folder / "echo.mjs").write_text(
            'import { createInterface } from "node:readline";\n'
            'import * as rpc from "./client.mjs";\n'
            "for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {\n"
            f"const value = rpc.decode(line); process.stdout.write(rpc.encode({change}) + '\\n'); }}\n"
        )
        command = [NODE, str(folder / "echo.mjs")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def text(self, line: bytes) -> bytes:
        """The line that comes back for one that is sent."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "Node has ended"
        return answer

    def value(self, value: Any) -> Any:
        """A Python value, through JavaScript, and back."""
        return wire.unpack(orjson.loads(self.text(orjson.dumps(wire.pack(value)))))

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
