"""What an administrator looks after a running site with: its log in a file, its metrics, a group that may look."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import as_user
from prometheus_client.parser import text_string_to_metric_families
from running_site import RunningSite, discard, eventually, open_folder

from framework.process.control import ControlError, ask, stop

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and files are real")

GROUP = "adm"
NOBODY = 65534
LAST_WORDS = b"import os\nos.write(2, b'last words'); os._exit(3)"


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    log = folder / "site.log"
    site.site_keys |= {"log": str(log), "control_group": GROUP}
    site.add_backend("one", workers=2, log_rate=0)
    site.add_backend("quiet", log_rate=1)
    started = site.log
    site.said = lambda: started.read_text() + read(log)  # type: ignore[method-assign]
    try:
        site.setup()
        site.start()
        yield site
    finally:
        site.remove()
        discard(folder)


def read(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def log_of(site: RunningSite) -> Path:
    return site.folder / "site.log"


def run(site: RunningSite, backend: str, code: str) -> str:
    return site.text(f"/{backend}/run?{code.encode().hex()}")


def test_it_says_where_the_log_goes(site: RunningSite) -> None:
    log = log_of(site)
    assert f"sitectl: the log of {site.name} goes to {log}" in site.log.read_text()
    assert site.status()["log"] == {"to": str(log), "lost": 0}
    assert f"\nlog: {log}\n" in site.sitectl("status").stdout + "\n"
    found = log.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o640, 0)


def test_lines_of_workers_that_print_at_once_are_whole_and_all_there(site: RunningSite) -> None:
    """Two workers and both streams, in pieces that end anywhere."""
    code = """
import os, sys, time
name = str(os.getpid()) + "-" + MARK + "-"
time.sleep(0.5)
for number in range(400):
    text = (name + str(number) + "-" + "y" * 300 + "\\n").encode()
    for stream in (1, 2):
        os.write(stream, text[:100]); os.write(stream, text[100:])
said = os.getpid()
"""
    answers: list[str] = []

    def send(mark: str) -> None:
        answers.append(run(site, "one", code.replace("MARK", repr(mark))))

    threads = [threading.Thread(target=send, args=(mark,)) for mark in ("a", "b", "c", "d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len({*answers}) == 2, "only one worker has printed"
    whole = re.compile(r"^\S+ \S+ (?:info   |warning) one/[01]\[\d+\] \d+-[abcd]-\d+-y{300}$", re.MULTILINE)
    eventually("all lines are there", lambda: len(whole.findall(log_of(site).read_text())) == 4 * 400 * 2)
    assert len(re.findall("y{50}", log_of(site).read_text())) == 4 * 400 * 2 * 6


def test_a_line_without_an_end_that_is_a_last_word_is_there(site: RunningSite) -> None:
    assert site.get("/one/run?" + LAST_WORDS.hex())[0] in (500, 502)
    site.text("/one/print?next")
    eventually("the last words", lambda: re.search(r"(?m)warning one/[01]\[\d+\] last words$", site.said()))
    assert "\\x00" not in site.said()


def test_what_is_over_the_rate_is_counted_and_told(site: RunningSite) -> None:
    site.text("/quiet/flood?30")
    dropped = eventually("they are counted", lambda: site.part("quiet")["log_dropped"])
    assert 15 <= dropped <= 20
    assert f"  quiet: {dropped} lines dropped, more than its log_rate" in site.sitectl("status").stdout

    def told() -> re.Match[str] | None:
        site.text("/quiet/print?next")
        return re.search(r"warning quiet\[\d+\] \((\d+) lines dropped", site.said())

    eventually("it is told", told)


def test_after_rotation_nothing_is_missing_and_the_old_file_rests(site: RunningSite) -> None:
    log, old = log_of(site), site.folder / "site.log.1"
    assert site.process is not None
    ending = threading.Event()
    printed: list[int] = []

    def go_on() -> None:
        while not ending.is_set():
            site.text(f"/one/print?rotation-{len(printed)}-")
            printed.append(1)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        eventually("it prints", lambda: len(printed) > 10)
        log.rename(old)
        site.process.send_signal(signal.SIGUSR1)
        eventually("the new file is there", log.exists)
        count = len(printed)
        eventually("it prints on", lambda: len(printed) > count + 10)
    finally:
        ending.set()
        thread.join()
    size = old.stat().st_size
    wanted = {str(number) for number in range(len(printed))}

    def found() -> bool:
        text = old.read_text() + log.read_text()
        return set(re.findall(r" rotation-(\d+)-$", text, re.MULTILINE)) >= wanted

    eventually("all of it is in one file or the other", found)
    assert "supervisor the log was opened again" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert old.stat().st_size == size


def test_metrics_are_what_the_status_says(site: RunningSite) -> None:
    done = site.sitectl("metrics")
    assert done.returncode == 0, done.stderr
    names = {family.name for family in text_string_to_metric_families(done.stdout)}
    assert {"site_up", "site_backend_requests", "site_part_memory_pss_bytes"} <= names
    file = site.folder / "site.prom"
    assert site.sitectl("metrics", "--output", str(file)).returncode == 0
    assert f'site_up{{site="{site.name}"}} 1' in file.read_text()
    assert list(site.folder.glob(".site.prom*")) == []


def test_the_group_may_look_and_order_nothing_and_others_may_not_even_look(site: RunningSite) -> None:
    socket = site.run_directory / "control.sock"

    def look() -> str:
        try:
            return ask(socket, "status")["site"]
        except ControlError as error:
            return str(error)

    def order() -> str:
        try:
            return str(stop(socket, 5))
        except ControlError as error:
            return str(error)

    gid = grp.getgrnam(GROUP).gr_gid
    assert as_user(NOBODY, gid, look) == site.name
    assert "only root may order this" in as_user(NOBODY, gid, order)
    assert "only root, the user who runs the site and its control_group may ask" in as_user(NOBODY, NOBODY, look)
    backend = pwd.getpwnam(site.user_of("one"))
    assert "may ask" in as_user(backend.pw_uid, backend.pw_gid, look)
    assert site.get("/one/")[0] == 200


def test_a_log_or_a_group_that_cannot_be_is_told_before_anything_starts(site: RunningSite) -> None:
    other = RunningSite(site.folder)
    other.file = site.folder / "other.toml"
    other.add_backend(
        "one", user=site.user_of("one"), group=site.user_of("one"), state_directory=str(other.state_directory)
    )
    for keys, message in (
        ({"log": str(site.folder / "none" / "x.log")}, "cannot be opened: No such file or directory"),
        ({"control_group": "zzz-none"}, "there is no group zzz-none"),
    ):
        other.site_keys = keys
        other.write_site()
        done = other.sitectl("check" if "control_group" in keys else "run")
        assert done.returncode == 1
        assert message in done.stderr + done.stdout
    assert json.loads(site.sitectl("status", "--json").stdout)["parts"]
