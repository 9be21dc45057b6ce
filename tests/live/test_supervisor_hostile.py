"""A back end that has been taken over: what it tries against the supervisor, and what is left of it afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import APPLICATION, RunningSite, alive, discard, eventually, open_folder

from framework.process.view import _barred

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")

HOSTILE = '''

import ctypes, pathlib

def become_invisible():
    """PR_SET_DUMPABLE 0: the kernel gives /proc/PID to root, so the owner of that directory tells nothing any more."""
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)

def linger():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)

def flee(action):
    """Run the action in a session of its own below a parent that lives on in another."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            action()
        linger()
    return "gone"

def do_invisible(query):
    if os.fork() == 0:
        os.setsid()
        become_invisible()
        if os.fork() == 0:
            become_invisible()
            linger()
        os._exit(0)
    os.wait()
    return "gone"

def do_nested(query):
    return flee(linger)

def do_relay(query):
    """Each process lives only long enough to start the next, in another session: no list of pids is ever true."""
    subprocess.run([str(pathlib.Path(__file__).with_name("relay"))])
    return "gone"

def do_deafen(query):
    """The listener is shared with the supervisor and all later generations: shut it down for good."""
    listener = socket.socket(fileno=os.dup(3))
    listener.shutdown(socket.SHUT_RDWR)
    return "deaf"
'''


RELAY = """\
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int main(void)
{
    time_t end = time(NULL) + 120;
    while (time(NULL) < end) {
        if (fork())
            _exit(0);
        setsid();
    }
    return 0;
}
"""


@pytest.fixture
def small() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.write_code("appl.py", APPLICATION + HOSTILE)
    site.add_backend("one", sandbox=False)  # which leaves most of these ways open
    site.add_backend("two")
    try:
        site.setup()
        yield site
    finally:
        site.remove()
        discard(folder)


def user_of(site: RunningSite, name: str) -> int:
    return pwd.getpwnam(site.user_of(name)).pw_uid


def processes_as(uid: int) -> list[int]:
    """The living processes with this real uid, as the kernel says in status, whatever /proc belongs to."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        except OSError:
            continue
        if int(fields["Uid"].split()[0]) == uid and fields["State"].split()[0] not in "ZX":
            found.append(int(pid))
    return found


def is_alone(site: RunningSite, name: str) -> bool:
    return processes_as(user_of(site, name)) == [site.part(name)["pid"]]


def compile_relay(program: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler: a process that ends within microseconds cannot be written in Python")
    subprocess.run([compiler, "-O2", "-o", program, "-xc", "-"], input=RELAY.encode(), check=True)


@pytest.mark.parametrize("frontend", ["lighttpd", "nginx"])
def test_no_process_of_a_part_outlives_a_killed_supervisor(small: RunningSite, frontend: str) -> None:
    """nginx's workers go on when its main process is killed, and would keep the port; no part may leave any."""
    small.site_keys["frontend"] = frontend
    small.write_site()
    small.start()
    processes = [pid for part in small.status()["parts"] for pid in part["processes"]]
    assert len(processes) == {"lighttpd": 3, "nginx": 4}[frontend]
    assert small.process is not None
    small.process.kill()
    small.process.wait()
    eventually("all have ended", lambda: not any(alive(pid) for pid in processes))
    small.start()
    assert small.get("/one/")[0] == 200


def test_another_site_does_not_notice_that_a_killed_supervisor_is_started_again(small: RunningSite) -> None:
    """Both front ends have one user, and what a killed supervisor left is ended by user, cgroup and marks."""
    folder = open_folder(Path())
    neighbour = RunningSite(folder)
    neighbour.add_backend("one")
    try:
        neighbour.setup()
        small.start()
        neighbour.start()
        processes = {part["name"]: part["pid"] for part in neighbour.status()["parts"]}
        assert small.process is not None
        small.process.kill()
        small.process.wait()
        small.start()
        assert small.get("/one/")[0] == 200
        assert neighbour.get("/one/")[0] == 200
        assert {part["name"]: part["pid"] for part in neighbour.status()["parts"]} == processes
    finally:
        neighbour.remove()
        discard(folder)


@pytest.mark.parametrize("way", ["stray", "invisible", "nested", "relay"])
def test_whatever_way_a_back_end_flees_nothing_outlives_it(small: RunningSite, way: str) -> None:
    if way == "relay":
        compile_relay(small.folder / "code" / "relay")
    small.start()
    two = small.part("two")["pid"]
    assert small.text(f"/one/{way}") in ("gone", "astray")
    before = small.part("one")
    os.kill(before["pid"], signal.SIGKILL)
    eventually("one is back", lambda: (part := small.part("one"))["state"] == "ready" and part["pid"] != before["pid"])
    eventually("one is alone", lambda: is_alone(small, "one"))
    assert all(is_alone(small, "one") for _ in range(20)) or way != "relay"
    assert small.part("two")["pid"] == two
    small.text(f"/one/{way}")
    assert small.stop() == 0
    assert processes_as(user_of(small, "one")) == []


@pytest.mark.parametrize("way", ["stray", "invisible", "nested"])
def test_what_fled_from_a_back_end_of_a_killed_supervisor_is_ended_by_the_next(small: RunningSite, way: str) -> None:
    small.start()
    small.text(f"/one/{way}")
    bystander = subprocess.Popen(["/bin/sleep", "600"], user=small.user_of("one"), start_new_session=True)
    try:
        small.stop(signal.SIGKILL)
        small.start()
        left = [pid for pid in processes_as(user_of(small, "one")) if pid != bystander.pid]
        assert left == [small.part("one")["pid"]]
        assert bystander.poll() is None, "what an administrator runs as this user is nobody's business"
    finally:
        bystander.kill()
        bystander.wait()


def test_a_listener_that_was_shut_down_is_replaced_with_the_process(small: RunningSite) -> None:
    small.start()
    assert small.get("/one/deafen")[0] in (200, 500, 502, 503)
    before = small.part("one")["pid"]
    try:
        os.kill(before, signal.SIGKILL)
    except ProcessLookupError:
        pass
    eventually("one is back", lambda: (part := small.part("one"))["state"] == "ready" and part["pid"] != before)
    eventually("one answers", lambda: small.get("/one/")[0] == 200)
    assert small.get("/two/")[0] == 200


def bury(folder: Path, levels: int) -> None:
    """Folders in each other, more than any program's stack or table of descriptors can follow."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_front_end_folder_of_any_depth_keeps_no_site_from_stopping_or_starting(small: RunningSite) -> None:
    small.start()
    bury(small.run_directory / "frontend", 3000)
    assert small.stop() == 0, small.said()
    assert list(small.run_directory.iterdir()) == []
    (small.run_directory / "frontend").mkdir()
    bury(small.run_directory / "frontend", 3000)
    small.start()
    assert small.get("/one/")[0] == 200


def test_state_of_any_depth_is_removed(small: RunningSite) -> None:
    victim = small.folder / "precious"
    victim.mkdir()
    (victim / "file").write_text("precious")
    state = small.state_directory / "one"
    (state / "link").symlink_to(victim)
    bury(state, 3000)
    os.chown(state / "deep", user_of(small, "one"), -1)
    asked = small.sitectl("remove")
    assert (asked.returncode, "Traceback" in asked.stderr) == (1, False), asked.stderr
    done = small.sitectl("remove", "--yes")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert not small.state_directory.exists()
    assert (victim / "file").read_text() == "precious"
    small.setup()


def test_a_back_end_that_never_gets_ready_keeps_no_service_manager_waiting(small: RunningSite) -> None:
    """With Type=notify systemd ends the whole site where READY=1 does not come in time."""
    small.write_code("dying.py", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    small.backends["one"]["application"] = "dying:app"
    small.write_site()
    address = small.folder / "manager.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(30)
        small.environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
        small.start()
        assert manager.recv(1000) == b"READY=1\nSTATUS=2 of 3 parts run"
    assert "but for 1 part(s)" in small.said()
    assert "killed by SIGKILL" in small.said()
    assert small.get("/two/")[0] == 200


SPY = """\
import os, sys, time
print("looking", flush=True)
end = time.monotonic() + 30
last = os.getpid()
while time.monotonic() < end and not os.path.exists(sys.argv[1]):
    for pid in range(last + 1, last + 40):
        try:
            seen = open(f"/proc/{pid}/environ", "rb").read()
        except FileNotFoundError:
            continue
        except OSError:
            last = pid
            continue
        print(pid, len(seen), flush=True)
"""


def test_a_trial_as_the_user_of_a_back_end_cannot_be_looked_into_by_that_user(tmp_path: Path) -> None:
    """What a user can reach is tried by a fork of root's process that has become that user: it holds root's memory."""
    folder = open_folder(tmp_path)
    closed = folder / "closed"
    closed.mkdir()
    for number in range(400):
        (closed / f"{number}").touch()
    closed.chmod(0o700)
    nobody = pwd.getpwnam("nobody")
    command = ["/usr/bin/python3", "-c", SPY, str(folder / "end")]
    spy = subprocess.Popen(
        command, user="nobody", group=nobody.pw_gid, extra_groups=[], stdout=subprocess.PIPE, text=True
    )
    try:
        assert spy.stdout is not None
        assert spy.stdout.readline() == "looking\n"
        modes = {str(path): os.R_OK for path in closed.iterdir()}
        for _ in range(100):
            assert _barred(modes, nobody.pw_uid, nobody.pw_gid, ()) == set()
        (folder / "end").touch()
        assert spy.stdout.read() == ""
    finally:
        spy.kill()
        spy.wait()
        spy.stdout.close()
        discard(folder)
