"""A table of a million rows is sent in constant memory: by itself, and by a server, whose peak the kernel tells."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from fastcore.client import AsyncClient, cgi_params
from framework.xhtml import Document

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1_000_000


def peak_kib(pid: int) -> int:
    """The most memory that a process has ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


async def received(address: str, rows: int) -> tuple[int, bytes]:
    """How many bytes an answer has, and the last of them; none is kept."""
    client = AsyncClient(address, timeout=60)
    total, last = 0, b""
    async with client.stream(cgi_params("GET", f"/?rows={rows}")) as response:
        assert response.status == 200
        async for piece in response:
            total += len(piece)
            last = (last + piece)[-200:]
    await client.close()
    return total, last


@pytest.mark.timeout(300)
def test_server_sends_a_million_rows_in_the_memory_of_ten(tmp_path: Path, twin_environment: dict[str, str]) -> None:
    path, log = tmp_path / "s", tmp_path / "log"
    command = [sys.executable, "-m", "fastcore", "--bind", f"unix:{path}", "--interface", "native"]
    command += ["--path", str(ROOT / "tests" / "support"), "streamed_application:app"]
    environment = {**twin_environment, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            end = time.monotonic() + 20
            while not path.exists():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.01)
            asyncio.run(received(f"unix:{path}", 10_000))
            before = peak_kib(process.pid)
            total, last = asyncio.run(received(f"unix:{path}", ROWS))
            grown = peak_kib(process.pid) - before
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
    assert total > 40_000_000
    assert f'<td class="number">{ROWS - 1}</td>'.encode() in last
    assert last.endswith(b"</html>")
    assert grown < 2048, f"{grown} KiB more for {total} bytes"


def test_page_itself_holds_one_chunk() -> None:
    page = Document("t")
    page.body.add_table(lambda: ((number, "<x>") for number in range(ROWS // 10)), headings=("n", "x"), stream=True)
    total = 0
    tracemalloc.start()
    try:
        for chunk in page:
            total += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 4_000_000
    assert peak < 1_000_000
