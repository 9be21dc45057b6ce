"""`sitectl doctor` on a running site: it says what the kernel does, and finds what is wider than declared."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from running_site import RunningSite, discard, open_folder

from framework.process import linux

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("one", read=["/proc"])
    site.add_backend("two", workers=2, network=True, capabilities=["net_raw"])
    site.add_backend("open", sandbox=False)
    try:
        site.setup()
        site.port = free_port()
        site.start("--listen", f"127.0.0.1:{site.port}")
        yield site
    finally:
        site.remove()
        discard(folder)


def report(site: RunningSite, status: int = 0) -> dict[str, Any]:
    done = site.sitectl("doctor", "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return {part["name"]: part for part in json.loads(done.stdout)["parts"]}


def answers(part: dict[str, Any]) -> dict[tuple[str, str], bool]:
    return {(each["kind"], each["target"]): each["allowed"] for each in part["tries"]}


def test_a_site_as_declared_is_mapped_with_nothing_wider(site: RunningSite) -> None:
    parts = report(site)
    assert list(parts) == ["lighttpd", "one", "two", "open"]
    told = {part["name"]: part for part in site.status()["parts"]}
    for name, part in parts.items():
        assert part["pids"] == told[name]["processes"]
        assert part["where"] == told[name]["where"]
        assert (part["uid"], part["user"]) == (told[name]["uid"], told[name]["user"])
        assert part["no_new_privileges"]
        assert part["wider"] == []
    assert parts["lighttpd"]["where"] == f"127.0.0.1:{site.port}"
    assert parts["two"]["capabilities"] == ["net_raw"]
    assert parts["one"]["capabilities"] == []
    assert [parts[name]["filtered"] for name in ("one", "two", "open")] == [True, True, False]


def test_what_may_be_done_was_tried(site: RunningSite) -> None:
    parts = report(site)
    for part in parts.values():
        assert len(answers(part)) == len(part["tries"])
    one, two = answers(parts["one"]), answers(parts["two"])
    state = site.state_directory
    assert one["write", str(state / "one")]
    assert not one["read", str(state / "two")]
    assert not one["read", "/etc/shadow"]
    assert not one["become", "0"]
    assert not one["connect", str(site.run_directory / "sockets" / "two.sock")]
    assert not one["signal", str(site.part("two")["pid"])]
    if linux.landlock_version():
        assert one["read", "/proc"]
        assert not two["read", "/proc"]
        assert not one["execute", "/bin/sh"]
    assert (one["socket", "AF_INET"], two["socket", "AF_INET"]) == (False, True)


def test_only_the_front_end_may_connect(site: RunningSite) -> None:
    for name, part in report(site).items():
        if part["kind"] == "backend":
            assert part["may_connect"] == ["www-data", "root"], name
            assert part["socket_mode"] == "0660 root:www-data"


def test_for_people_it_says_the_same_and_every_attempt_on_request(site: RunningSite) -> None:
    done = site.sitectl("doctor")
    assert done.returncode == 0
    assert "nothing is wider than declared" in done.stdout
    assert re.search(r"^open  .*\n(  .*\n)*  NOTE   has no sandbox \(sandbox = false\)", done.stdout, re.M)
    assert "\033" not in done.stdout
    assert "/etc/shadow" not in done.stdout
    assert re.search(r"read +/etc/shadow +Permission denied", site.sitectl("doctor", "--all").stdout)


def test_a_socket_that_was_opened_to_all_is_found(site: RunningSite) -> None:
    path = site.run_directory / "sockets" / "one.sock"
    path.chmod(0o666)
    try:
        parts = report(site, 1)
        said = f"its socket {path} is 0666 root:www-data, declared 0660 root:www-data"
        assert said in parts["one"]["wider"]
        assert f"may connect {path}, which is not declared" in parts["two"]["wider"]
    finally:
        path.chmod(0o660)


def test_a_folder_of_the_sockets_that_others_may_write_to_is_found(site: RunningSite) -> None:
    folder = site.run_directory / "sockets"
    folder.chmod(0o777)
    try:
        wider = report(site, 1)["one"]["wider"]
    finally:
        folder.chmod(0o755)
    assert any("can be written by others (0777)" in line for line in wider)


def test_state_that_was_opened_to_others_is_told_with_what_mends_it(site: RunningSite) -> None:
    state = site.state_directory / "two"
    state.chmod(0o777)
    try:
        done = site.sitectl("doctor")
    finally:
        state.chmod(0o700)
    assert done.returncode == 1
    assert f"state directory {state} has mode 0777" in done.stderr
    assert "'sitectl setup' sets it right" in done.stderr


def test_a_process_that_has_more_than_the_site_file_now_says_is_found(site: RunningSite) -> None:
    text = site.file.read_text()
    site.file.write_text(text.replace('capabilities = ["net_raw"]', ""))
    try:
        done = site.sitectl("doctor")
    finally:
        site.file.write_text(text)
    assert done.returncode == 1
    assert "has changed since the start" in done.stdout
    assert re.search(r"WIDER  process \d+: CapEff is 0x2000, declared 0x0", done.stdout)


def test_a_site_that_does_not_run_is_told(tmp_path: Path) -> None:
    site = RunningSite(tmp_path)
    site.add_backend("one")
    site.write_site()
    done = site.sitectl("doctor")
    assert done.returncode == 1
    assert "does not run" in done.stderr
    assert "Traceback" not in done.stderr
