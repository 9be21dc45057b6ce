"""`sitectl status` of a running site: what its workers do, seen from outside, also where a worker scribbles over it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running_site import RunningSite, discard, eventually, open_folder, running_site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    """Two back ends, one of them with two workers."""
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("one")
    site.add_backend("two", workers=2, read=["/proc"])
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def worker_of(site: RunningSite, backend: str, pid: int) -> dict[str, Any]:
    return next(worker for worker in site.part(backend)["workers"] if worker["pid"] == pid)


def test_each_worker_is_there_and_idle(site: RunningSite) -> None:
    def settled() -> bool:
        return [[worker["state"] for worker in site.part(name)["workers"]] for name in ("one", "two")] == [
            ["idle"],
            ["idle", "idle"],
        ]

    eventually("all workers are idle", settled)
    two = site.part("two")
    assert {worker["pid"] for worker in two["workers"]} == set(two["processes"]) - {two["pid"]}
    assert site.part("one")["workers"][0]["pid"] == site.part("one")["pid"]
    assert "workers" not in site.part("lighttpd") or site.part("lighttpd")["workers"] == []


def test_requests_are_counted_with_the_time_they_took(site: RunningSite) -> None:
    before = site.part("one")["requests"]
    for _ in range(5):
        site.text("/one/")
    site.text("/one/sleep?0.3")
    part = site.part("one")
    assert part["requests"] == before + 6
    assert part["rate"] > 0
    assert part["p50"] < 0.3 < part["p99"] * 1.01
    assert sum(count for _, count in part["latencies"]) == part["requests"]


def test_what_a_worker_does_is_seen_while_it_does_it_without_the_query(site: RunningSite) -> None:
    go_on = site.state_directory / "two" / "go-on"
    code = f"while not os.path.exists({str(go_on)!r}):\n    time.sleep(0.05)\nsaid = 1"
    asking = threading.Thread(target=site.text, args=(f"/two/run?{code.encode().hex()}",))
    asking.start()
    try:
        busy = eventually("two is busy", lambda: (part := site.part("two"))["busy"] and part)
        [worker] = [worker for worker in busy["workers"] if worker["state"] == "handling"]
        assert worker["url"] == "/two/run"
        assert worker["connections"] == 1 or worker["connections"] == 0  # as it last waited
        done = site.sitectl("status", "--workers")
        assert re.search(r"^two/[01] +\d+ +handling +[0-9.]+ m?s .* /two/run$", done.stdout, re.MULTILINE)
        assert re.search(r"^two .* 1 of 2 ", done.stdout, re.MULTILINE)
    finally:
        go_on.touch()
        asking.join()
    eventually("two is idle again", lambda: not site.part("two")["busy"])


def test_a_worker_reaches_its_own_page_alone(site: RunningSite) -> None:
    assert site.text("/two/scribble?0") == "4096"
    assert "scoreboard" not in site.text("/two/descriptors")


@pytest.mark.parametrize("byte", [255, 0, 1, 5, 127, 128])
def test_a_worker_that_scribbles_harms_nobody_elses_figures(site: RunningSite, byte: int) -> None:
    one = site.part("one")["requests"]
    supervisor = site.status()["pid"]
    for _ in range(5):
        assert site.text(f"/two/scribble?{byte}") == "4096"
        done = site.sitectl("status", "--workers")
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
    status = site.status()
    assert status["pid"] == supervisor
    assert site.part("one")["requests"] == one
    assert all(0 <= worker["requests"] <= 1 << 53 for worker in site.part("two")["workers"])


def test_the_place_of_a_dead_worker_goes_to_the_next(site: RunningSite) -> None:
    pid = int(site.text("/two/").split()[1])
    before = {worker["pid"]: worker["number"] for worker in site.part("two")["workers"]}
    number = before.get(pid)
    os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        now = {worker["pid"]: worker["number"] for worker in site.part("two")["workers"]}
        return len(now) == 2 and pid not in now and sorted(now.values()) == [0, 1]

    eventually(f"another worker has the place {number}", replaced)


def test_a_new_generation_is_told_and_the_sums_go_on(site: RunningSite) -> None:
    site.text("/one/")
    before = site.part("one")
    assert site.sitectl("reload", "one").returncode == 0
    after = site.part("one")
    assert after["generation"] == before["generation"] + 1
    assert after["requests"] == before["requests"]
    assert sum(worker["requests"] for worker in after["workers"]) == 0
    eventually("the new one is idle", lambda: [w["state"] for w in site.part("one")["workers"]] == ["idle"])


def test_watch_shows_what_has_come_since_the_last_look(site: RunningSite) -> None:
    watching = subprocess.Popen(
        site.command("status", str(site.file), "--watch", "0.3", "--json"),
        stdout=subprocess.PIPE,
        text=True,
        env=site.environment,
        cwd=site.folder,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may ignore it
    )
    try:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert {part["name"] for part in first["parts"]} == {"lighttpd", "one", "two"}
        site.text("/one/sleep?0.2")
        for line in watching.stdout:
            part = next(part for part in json.loads(line)["parts"] if part["name"] == "one")
            if part["p50"] is not None and part["p50"] >= 0.2:
                break
        quiet = json.loads(watching.stdout.readline())
        part = next(part for part in quiet["parts"] if part["name"] == "one")
        assert (part["rate"], part["p50"], part["p99"]) == (0.0, None, None)
    finally:
        watching.send_signal(signal.SIGINT)
        try:
            watching.communicate(timeout=30)
        finally:
            watching.kill()
    assert watching.returncode == 0
