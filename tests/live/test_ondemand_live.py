"""A back end on demand: no process until a connection comes, none again when nobody asks; not one request is lost."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, alive, discard, eventually, open_folder, running_site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("lazy", processes="ondemand", idle_exit="1 s")
    site.add_backend("pair", processes="ondemand", idle_exit="1 s", workers=2)
    site.add_backend("awake")
    try:
        with running_site(site):
            for name in ("lazy", "pair"):
                eventually(f"{name} has been tried", (site.run_directory / "urls" / f"{name}.json").exists)
            yield site
    finally:
        discard(folder)


def asleep(site: RunningSite, name: str) -> None:
    eventually(f"{name} sleeps", lambda: site.part(name)["state"] == "asleep")


@pytest.mark.parametrize("name", ["lazy", "pair"])
def test_it_sleeps_without_a_process_until_somebody_asks(site: RunningSite, name: str) -> None:
    asleep(site, name)
    part = eventually("it has no process", lambda: not (part := site.part(name))["processes"] and part)
    assert (part["pid"], part["restarts"]) == (None, 0)
    told = site.sitectl("status")
    assert told.returncode == 0
    assert "on demand, asleep" in told.stdout
    doctor = site.sitectl("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "on demand, asleep" in doctor.stdout

    def awake() -> str:  # on a busy machine it may sleep again before the status is there
        pid = site.text(f"/{name}/").split()[1]
        return pid if int(pid) in site.part(name)["processes"] else ""

    pid = eventually(f"{name} is awake", awake)
    asleep(site, name)
    eventually("its process has ended", lambda: not alive(int(pid)))
    assert site.text(f"/{name}/").split()[1] != pid


def test_a_request_that_takes_longer_than_its_idle_time_is_answered(site: RunningSite) -> None:
    assert site.text("/lazy/sleep?3") == "slept"


def test_no_request_is_lost_while_it_falls_asleep_and_wakes(site: RunningSite) -> None:
    failed: list[int] = []
    asked: list[int] = []

    def ask(pause: float) -> None:
        for _ in range(6):
            status, _ = site.get("/lazy/")
            asked.append(status)
            if status != 200:
                failed.append(status)
            threading.Event().wait(pause)

    threads = [threading.Thread(target=ask, args=(0.9 + 0.1 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 24
    assert failed == []


def test_its_urls_are_known_and_the_others_run_on(site: RunningSite) -> None:
    asleep(site, "lazy")
    assert (site.run_directory / "urls" / "lazy.json").exists()
    assert site.get("/awake/")[0] == 200
    assert site.part("awake")["state"] == "ready"


def test_it_is_reloaded_while_it_sleeps(site: RunningSite) -> None:
    asleep(site, "lazy")
    before = site.part("lazy")["generation"]
    done = site.sitectl("reload", "lazy")
    assert done.returncode == 0, done.stderr
    assert site.text("/lazy/")
    assert site.part("lazy")["generation"] == before + 1
    asleep(site, "lazy")
    assert site.text("/lazy/")


def test_one_that_fails_when_it_is_woken_is_not_started_all_the_time(site: RunningSite) -> None:
    """It is called once by each start, so the file counts its starts while a connection waits."""
    asleep(site, "lazy")
    counted = site.state_directory / "lazy" / "starts"
    code = f"import os\nwith open({str(counted)!r}, 'a') as file:\n    file.write('x')\nos._exit(3)\n"
    whole = (site.folder / "code" / "appl.py").read_text()
    site.write_code("appl.py", code)
    try:
        threading.Thread(target=site.get, args=("/lazy/",), daemon=True).start()
        part = eventually("it has failed", lambda: (part := site.part("lazy"))["restarts"] >= 3 and part)
        assert part["state"] in ("waiting", "starting", "failed")
        assert part["last_error"].startswith("ended with exit code 3")
        assert site.sitectl("status").returncode == 1
        assert len(counted.read_text()) <= part["restarts"] + 2
        assert site.part("awake")["state"] == "ready"
    finally:
        site.write_code("appl.py", whole)
    assert site.sitectl("reload", "lazy").returncode == 0
    assert site.text("/lazy/")


def test_idle_back_ends_go_to_sleep_before_the_memory_budget_is_exceeded(site: RunningSite) -> None:
    """All of the site needs more than 30 MiB: whoever is on demand, awake and idle, ends long before its time."""
    site.backends["lazy"]["idle_exit"] = site.backends["pair"]["idle_exit"] = "1 h"
    site.site_keys["memory"] = "30 MiB"
    site.write_site()
    try:
        assert site.sitectl("reload").returncode == 0
        budget = site.status()["budget"]
        assert (budget["limit"], budget["used"] > 0) == (30 << 20, True)
        assert site.text("/lazy/")
        assert site.text("/pair/")  # before it is woken there is room made: lazy sleeps
        eventually("an idle one has been ended", lambda: site.status()["budget"]["ended"])
        assert "of 30.0 MiB used" in site.sitectl("status").stdout
        assert site.text("/lazy/")
        assert re.search(r"of 30.0 MiB of memory are used: idle back end \w+ ends", site.said())
        assert site.part("awake")["restarts"] == 0
    finally:
        site.backends["lazy"]["idle_exit"] = site.backends["pair"]["idle_exit"] = "1 s"
        del site.site_keys["memory"]
        site.write_site()
        assert site.sitectl("reload").returncode == 0


def test_a_site_with_a_sleeper_stops_cleanly(site: RunningSite) -> None:
    """And begins again, after a supervisor that was killed. One test: a process that outlives a test is a leftover."""
    asleep(site, "lazy")
    awake = site.part("awake")["pid"]
    assert site.process is not None
    site.process.kill()
    site.process.wait()
    eventually("its children have ended with it", lambda: not alive(awake))
    site.start()
    assert site.text("/lazy/")
    assert site.text("/awake/")
    asleep(site, "lazy")
    descriptors = Path(f"/proc/{site.part('lighttpd')['pid']}/fd")
    before = len(list(descriptors.iterdir()))
    codes: list[int] = []
    stopping = threading.Thread(target=lambda: codes.append(site.stop()))
    with socket.create_connection(("127.0.0.1", site.port)) as begun:  # a request that is not there yet wakes it, too
        begun.settimeout(60)
        begun.sendall(b"GET /lazy/ HTTP/1.1\r\nHost: console.localhost\r\nConnec")
        eventually("lighttpd has it", lambda: len(list(descriptors.iterdir())) > before)
        stopping.start()
        eventually("it stops", lambda: "graceful shutdown started" in site.said())
        begun.sendall(b"tion: close\r\n\r\n")
        answer = begun.recv(65536)
    stopping.join()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert codes == [0]
    assert "stopped, nothing is left" in site.said()
