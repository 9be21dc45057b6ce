"""The supervisor with real lighttpd and users: who runs as whom, what dies comes back, what stops leaves nothing."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, alive, discard, eventually, open_folder, running_site

from framework.cli.status import COLUMNS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    """Two back ends under two users, one of them with two workers, and a third that cannot be imported."""
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("one")
    site.add_backend("two", workers=2)
    site.add_backend("broken", application="broken:app")
    site.write_code("broken.py", "value = 1\nimport no_such_module_anywhere\n")
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def test_each_part_runs_as_its_own_user_and_answers(site: RunningSite) -> None:
    for name in ("one", "two"):
        assert site.text(f"/{name}/").split()[0] == str(uid(site.user_of(name)))
    users = {part["name"]: part["user"] for part in site.status()["parts"]}
    assert users == {"lighttpd": "www-data", **{name: site.user_of(name) for name in ("one", "two", "broken")}}
    for part in site.status()["parts"]:
        if part["pid"]:
            assert os.stat(f"/proc/{part['pid']}").st_uid == uid(part["user"])


def test_static_files_come_from_the_front_end(site: RunningSite) -> None:
    assert site.text("/static/hello.txt") == "hello"


def test_the_run_directory_belongs_to_root_and_the_sockets_to_the_front_end(site: RunningSite) -> None:
    def seen(path: Path) -> tuple[str, int, int]:
        found = path.lstat()
        return stat.filemode(found.st_mode), found.st_uid, found.st_gid

    www_data = pwd.getpwnam("www-data")
    run = site.run_directory
    for folder in (run, run / "sockets", run / "urls"):
        assert seen(folder) == ("drwxr-xr-x", 0, 0)
    assert seen(run / "sockets" / "one.sock") == ("srw-rw----", 0, www_data.pw_gid)
    assert seen(run / "control.sock")[:2] == ("srw-------", 0)
    assert seen(run / "frontend") == ("drwx------", www_data.pw_uid, www_data.pw_gid)
    assert seen(run / "urls" / "one.json")[:2] == ("-rw-r--r--", 0)
    assert seen(run / "notify" / "one.sock")[:2] == ("srw-------", uid(site.user_of("one")))


def test_what_an_application_prints_is_logged_line_by_line_with_name_and_pid(site: RunningSite) -> None:
    pid = site.part("one")["pid"]
    site.text("/one/print?helloESCAPEred")
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    for line in (
        rf"^{stamp} info    one\[{pid}\] hello\\x1bred$",
        rf"^{stamp} warning one\[{pid}\] error hello\\x1bred$",
    ):
        eventually(line, lambda line=line: re.search(line, site.said(), re.MULTILINE))


def test_a_flood_of_output_is_cut_and_told(site: RunningSite) -> None:
    site.text("/two/flood?20000")
    site.text("/two/print?after-the-flood")
    told = eventually("the cut is told", lambda: re.search(r"two\[\d+\] \((\d+) lines dropped", site.said()))
    shown = site.said().count("] flood\n")
    assert 0 < shown < 20000
    assert shown + int(told[1]) <= 20000


def test_an_application_that_cannot_be_imported_is_named_and_the_others_run(site: RunningSite) -> None:
    assert site.get("/one/")[0] == 200
    part = site.part("broken")
    assert part["state"] in ("failed", "starting")
    broken = f"{site.folder}/code/broken.py"
    expected = f"cannot import 'broken': ModuleNotFoundError: No module named 'no_such_module_anywhere' ({broken}:2)"
    assert part["last_error"] == expected
    assert f"ERROR back end 'broken': {expected}" in site.said()
    done = site.sitectl("status")
    assert done.returncode == 1
    assert f"broken, last error: {expected}" in done.stdout


def test_requests_for_a_back_end_that_cannot_run_get_an_error_and_do_not_hang(site: RunningSite) -> None:
    assert site.get("/broken/")[0] in (500, 502, 503)


def test_status_tells_memory_restarts_and_time(site: RunningSite) -> None:
    done = site.sitectl("status")
    header, supervisor, *parts = done.stdout.splitlines()
    assert header.split() == list(COLUMNS)
    assert supervisor.startswith("supervisor  root")
    assert re.search(rf"^two +{site.user_of('two')} +\d+ +1 +ready .* MiB ", "\n".join(parts), re.MULTILINE)
    assert len(site.part("two")["processes"]) == 3


def test_a_back_end_that_is_killed_is_started_again(site: RunningSite) -> None:
    before = site.part("one")
    os.kill(before["pid"], signal.SIGKILL)
    after = eventually("one is back", lambda: (part := site.part("one"))["state"] == "ready" and part)
    assert after["restarts"] == before["restarts"] + 1
    assert after["last_error"].startswith("killed by SIGKILL")
    assert site.get("/one/")[0] == 200


def test_a_request_waits_for_a_back_end_that_is_started_again(site: RunningSite) -> None:
    """The listener stays open while the process is away: a death costs only the requests that were being answered."""
    assert site.get("/two/die")[0] == 500
    assert site.get("/two/")[0] == 200


def test_the_front_end_is_started_again(site: RunningSite) -> None:
    before = site.part("lighttpd")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(
        "lighttpd is back", lambda: (part := site.part("lighttpd"))["state"] == "ready" and part["pid"] != before["pid"]
    )
    assert site.get("/one/")[0] == 200


def test_descendants_of_a_dead_back_end_are_ended(site: RunningSite) -> None:
    child = int(site.text("/one/child"))
    site.text("/one/stray")
    before = site.part("one")
    user = uid(site.user_of("one"))
    assert alive(child)
    os.kill(before["pid"], signal.SIGKILL)
    eventually("one is back", lambda: (part := site.part("one"))["state"] == "ready" and part["pid"] != before["pid"])
    processes = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if owner(pid) == user and alive(pid)]
    assert processes == [site.part("one")["pid"]]


def owner(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except FileNotFoundError:
        return -1


def test_a_second_supervisor_is_refused(site: RunningSite) -> None:
    done = site.sitectl("run")
    assert done.returncode == 1
    assert done.stderr == f"sitectl: site {site.name!r} runs already (pid {site.process.pid}): 'sitectl stop' ends it\n"
    assert site.get("/one/")[0] == 200


def test_setup_and_remove_respect_a_running_site(site: RunningSite) -> None:
    done = site.sitectl("remove", "--yes")
    assert done.returncode == 1
    assert done.stderr == f"sitectl: site {site.name} is running: 'sitectl stop' first\n"


def test_nobody_but_root_may_give_orders(site: RunningSite) -> None:
    code = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    path = str(site.run_directory / "control.sock")
    for user in ("nobody", "www-data", site.user_of("one")):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code, path], user=user, capture_output=True, text=True, check=False
        )
        assert "PermissionError" in done.stderr


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"[]\n", b"{}\n", b'{"command": "explode"}\n', b"\xff\xfe\n", b"x" * 5000]
)
def test_malformed_orders_are_refused(site: RunningSite, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(30)
        channel.connect(str(site.run_directory / "control.sock"))
        channel.sendall(line)
        channel.shutdown(socket.SHUT_WR)
        try:
            answer = channel.recv(1000)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or b'"ok": false' in answer
    assert site.get("/one/")[0] == 200


def test_the_summary_says_who_runs_as_whom_and_what_to_open(site: RunningSite) -> None:
    said = site.said()
    assert re.search(
        rf"^  two +{site.user_of('two')} +{uid(site.user_of('two'))} +\d+ +ready +console\.localhost/two$", said, re.M
    )
    assert f"  open http://console.localhost:{site.port}/\n" in said
    assert "but for 1 part(s)" in said


# ---- sites of their own: they are stopped and killed


either_front_end = pytest.mark.parametrize("small", ["lighttpd", "nginx"], indirect=True)


@pytest.fixture
def small(request: pytest.FixtureRequest) -> Iterator[RunningSite]:
    """One back end; behind lighttpd unless the test says otherwise."""
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.site_keys["frontend"] = getattr(request, "param", "lighttpd")
    site.add_backend("one")
    try:
        site.setup()
        yield site
    finally:
        site.remove()
        discard(folder)


def parts(site: RunningSite) -> list[int]:
    return [pid for part in site.status()["parts"] for pid in part["processes"]]


@either_front_end
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_and_leaves_nothing(small: RunningSite, number: signal.Signals) -> None:
    small.start()
    child = int(small.text("/one/child"))
    small.text("/one/stray")
    pids = parts(small)
    assert small.stop(number) == 0
    assert [pid for pid in (*pids, child) if alive(pid)] == []
    assert list(small.run_directory.iterdir()) == []


def test_a_service_manager_is_told_when_all_parts_are_up(small: RunningSite) -> None:
    address = small.folder / "manager.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30)
        small.environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
        small.start()
        assert manager.recv(1000) == b"READY=1\nSTATUS=2 of 2 parts run"
        assert "NOTIFY_SOCKET" not in small.text("/one/environment")
        assert small.stop() == 0
        assert manager.recv(1000) == b"STOPPING=1"


def test_sitectl_stop_returns_when_all_has_ended(small: RunningSite) -> None:
    small.start()
    pids = parts(small)
    done = small.sitectl("stop")
    assert (done.returncode, done.stdout) == (0, f"{small.name} has stopped\n")
    assert [pid for pid in pids if alive(pid)] == []
    assert small.process.wait(30) == 0
    again = small.sitectl("stop")
    assert again.returncode == 1
    assert "the site does not run" in again.stderr


@either_front_end
def test_a_request_that_is_being_answered_is_finished_before_the_stop(small: RunningSite) -> None:
    small.start()
    answers: list[tuple[int, str]] = []
    client = threading.Thread(target=lambda: answers.append(small.get("/one/sleep?1")))
    client.start()
    eventually("the request is being answered", (small.state_directory / "one" / "sleeping").exists)
    assert small.stop() == 0
    client.join()
    assert answers == [(200, "slept")]


def test_what_does_not_end_is_killed_by_a_second_signal(small: RunningSite) -> None:
    small.start()
    client = threading.Thread(target=lambda: impatient(small))
    client.start()
    eventually("the request is being answered", (small.state_directory / "one" / "sleeping").exists)
    small.process.send_signal(signal.SIGTERM)
    eventually("the stop has begun", lambda: "SIGTERM: stopping" in small.said())
    assert small.stop(signal.SIGTERM) == 0
    assert "SIGTERM again: everything is killed" in small.said()
    client.join()


def impatient(site: RunningSite) -> None:
    try:
        site.get("/one/sleep?60")
    except OSError:
        pass


@either_front_end
def test_after_kill_9_nothing_runs_on_and_a_new_run_starts_cleanly(small: RunningSite) -> None:
    small.start()
    small.text("/one/child")
    pids = parts(small)
    children = [part["pid"] for part in small.status()["parts"]]
    small.stop(signal.SIGKILL)
    eventually("the direct children are gone", lambda: not any(alive(pid) for pid in children))
    assert (small.run_directory / "sockets" / "one.sock").exists()
    small.start()
    assert small.get("/one/")[0] == 200
    assert [pid for pid in pids if alive(pid)] == []
    assert small.stop() == 0
    assert list(small.run_directory.iterdir()) == []


def test_a_taken_port_is_told_and_nothing_is_started(small: RunningSite) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", small.port))
        other.listen()
        done = small.sitectl("run")
    assert done.returncode == 1
    assert done.stderr.startswith(f"sitectl: cannot listen on 127.0.0.1:{small.port}: Address already in use")
    assert list(small.run_directory.iterdir()) == []


def test_a_file_in_the_place_of_a_socket_is_not_removed(small: RunningSite) -> None:
    path = small.run_directory / "sockets" / "one.sock"
    path.write_text("precious")
    done = small.sitectl("run", timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"sitectl: {path} is there and is not a socket: remove it\n"


def test_a_run_directory_that_others_may_write_to_is_refused(small: RunningSite) -> None:
    small.run_directory.chmod(0o777)
    done = small.sitectl("run")
    assert done.returncode == 1
    assert "is not a directory that only its owner, uid 0, may write to" in done.stderr
    small.run_directory.chmod(0o755)


def test_a_back_end_that_gives_no_sign_of_life_after_its_repair_comes_back(small: RunningSite) -> None:
    """An application is repaired while the site runs: the next attempt, which comes by itself, serves it."""
    good = (small.folder / "code" / "appl.py").read_text()
    small.write_code("appl.py", "def app(:\n")
    small.start()
    error = small.part("one")["last_error"]
    assert error.startswith("cannot import 'appl': SyntaxError:")
    assert error.endswith(f"({small.folder}/code/appl.py:1)")
    small.write_code("appl.py", good)
    eventually("one serves", lambda: small.get("/one/")[0] == 200)


def test_nginx_runs_as_its_user_serves_and_comes_back(small: RunningSite) -> None:
    small.site_keys["frontend"] = "nginx"
    small.write_site()
    small.start()
    before = small.part("nginx")
    assert len(before["processes"]) == 2  # its master and its worker
    for pid in before["processes"]:
        assert os.stat(f"/proc/{pid}").st_uid == uid("www-data")
        assert re.search(r"^CapEff:\t0+$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert small.text("/static/hello.txt") == "hello"
    assert small.text("/one/").split()[0] == str(uid(small.user_of("one")))
    os.kill(before["pid"], signal.SIGKILL)
    eventually("nginx is back", lambda: (part := small.part("nginx"))["state"] == "ready" and part["restarts"] == 1)
    assert small.text("/one/").split()[0] == str(uid(small.user_of("one")))
    assert not any(alive(pid) for pid in before["processes"])
    assert not any("nginx[" in line for line in small.said().splitlines())  # it has nothing to complain about
    assert small.stop() == 0
