"""Faults of a running site under load: each is brought about, waited out, and told as a row of a table.

Used by tests/live/test_faults_live.py (once each) and scripts/soak.py (again and again, then docs/faults.md).
"""

from __future__ import annotations

import http.client
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from running_site import APPLICATION, PATIENCE, RunningSite, alive, eventually

WRONG_CONNECTIONS = 10_000
MIB = 1 << 20

TROUBLE = (
    APPLICATION
    + '''
import threading

held = []

def do_slow(seconds):
    time.sleep(float(seconds))
    return "slow"

def do_exhaust(seconds):
    """Take every descriptor there is, and give them back after a while, when this request has long been answered."""
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        threading.Timer(float(seconds), release).start()
        return str(error.errno)

def release():
    while held:
        os.close(held.pop())

def do_bomb(query):
    """Fork until the kernel refuses; the children stay."""
    count = 0
    while True:
        try:
            pid = os.fork()
        except OSError:
            return str(count)
        if pid == 0:
            while True:
                time.sleep(60)
        count += 1

def do_hog(query):
    """Take memory until there is none."""
    taken = []
    try:
        while True:
            taken.append(bytearray(8 << 20))
    except MemoryError:
        return str(len(taken))
    finally:
        taken.clear()

def do_body(query):
    return "never called without its body"
'''
)


def movable_clock(folder: Path) -> dict[str, str]:
    """The environment in which the wall clock of a program can be moved; the usual one without a C compiler."""
    source, library = Path(__file__).with_name("wallclock.c"), folder / "wallclock.so"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return dict(os.environ)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    clock = folder / "clock"
    clock.write_text("0\n")
    return {**os.environ, "LD_PRELOAD": str(library), "WALLCLOCK_FILE": str(clock)}


@dataclass
class Row:
    """What came of one fault, or of many of its kind added up."""

    name: str
    times: int = 0
    requests: int = 0
    failed: int = 0
    others: int = 0
    without: float = 0.0
    longest: float = 0.0
    left: list[str] = field(default_factory=list)
    remark: str = ""
    seen: Counter[str] = field(default_factory=Counter)  # what those that failed got: status, or exception

    def add(self, other: Row) -> None:
        self.times += other.times
        self.requests += other.requests
        self.failed += other.failed
        self.others += other.others
        self.without = max(self.without, other.without)
        self.longest = max(self.longest, other.longest)
        self.left += other.left
        self.seen += other.seen
        self.remark = other.remark or self.remark


class Load:
    """Clients of the two back ends, each one request after another on new connections, until the end."""

    def __init__(self, site: RunningSite) -> None:
        self.site = site
        self.events: dict[str, list[tuple[float, float, str]]] = {"victim": [], "other": []}
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(name,)) for name in ("victim", "victim", "other")]

    def _ask(self, name: str) -> None:
        while not self._ending.is_set():
            begun = time.monotonic()
            wrong = ""
            connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=PATIENCE)
            try:
                connection.request("GET", f"/{name}/slow?0.02", headers={"Host": "console.localhost"})
                answer = connection.getresponse()
                answer.read()
                wrong = "" if answer.status == 200 else str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                wrong = type(error).__name__
            finally:
                connection.close()
            self.events[name].append((begun, time.monotonic(), wrong))
            self._ending.wait(0.002)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.settle()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def settle(self) -> None:
        """Wait until each back end has answered some requests that have begun from now on."""
        now = time.monotonic()

        def good(name: str) -> bool:
            return sum(begun >= now and not wrong for begun, _, wrong in list(self.events[name])) >= 5

        try:
            eventually("the site answers again", lambda: good("victim") and good("other"))
        except AssertionError as error:
            last = {
                name: Counter(wrong or "200" for _, end, wrong in list(events) if end >= now)
                for name, events in self.events.items()
            }
            raise AssertionError(f"{error}: {last}; it said: {self.site.said()[-2000:]}") from None

    def row(self, name: str, at: float) -> Row:
        both = [event for events in self.events.values() for event in events if event[1] >= at]
        failures = {key: [event for event in self.events[key] if event[2] and event[1] >= at] for key in self.events}
        good = sorted(end for _, end, wrong in self.events["victim"] if not wrong and end >= at)
        without = max((later - earlier for earlier, later in itertools.pairwise([at, *good])), default=0.0)
        longest = max((end - begun for begun, end, _ in both), default=0.0)
        seen = Counter(wrong for events in failures.values() for _, _, wrong in events)
        victim, other = len(failures["victim"]), len(failures["other"])
        return Row(name, 1, len(both), victim, other, without, longest, seen=seen)


class Faults:
    """A site with a front end, a victim and another back end, and everything that can befall it."""

    def __init__(self, site: RunningSite, front_end: str = "lighttpd") -> None:
        self.site = site
        self.front_end = site.site_keys["frontend"] = front_end
        self.disk = site.folder / "disk"
        self.log = self.disk / "site.log"
        site.write_code("trouble.py", TROUBLE)
        common = {"application": "trouble:app", "workers": 2, "read": ["/proc"], "log_rate": 1000}
        site.add_backend("victim", **common)
        site.add_backend("other", **common)
        site.site_keys["log"] = str(self.log)
        site.said = self._said  # type: ignore[method-assign]

    def _said(self) -> str:
        before = self.site.log.read_text("utf-8", "replace") if self.site.log.exists() else ""
        return before + (self.log.read_text("utf-8", "replace") if self.log.exists() else "")

    # ---- set up

    @contextmanager
    def running(self) -> Iterator[Faults]:
        """The site with limits, its log on a small disk, the state of the victim on another."""
        site = self.site
        mounted: list[Path] = []
        try:
            site.setup()
            text = site.file.read_text()
            limits = 'limits = { open_files = 128, processes = 40, address_space = "512 MiB" }'
            for name in ("victim", "other"):
                text = text.replace(f"[backend.{name}]", f"[backend.{name}]\n{limits}")
            site.file.write_text(text)
            self.disk.mkdir()
            mount(self.disk, "size=1m,mode=0755", mounted)
            owner = pwd.getpwnam(site.user_of("victim"))
            state = site.state_directory / "victim"
            mount(state, f"size=2m,mode=0700,uid={owner.pw_uid},gid={owner.pw_gid}", mounted)
            site.start()
            yield self
        finally:
            if site.process is not None:
                site.stop()
            for folder in reversed(mounted):
                subprocess.run(["umount", str(folder)], check=True)
            site.remove()

    def run(self, name: str) -> Row:
        """Bring one about under load, wait until all is well again, and look what it has left."""
        done = self.site.sitectl("reload", "victim")  # a new one, whose earlier deaths do not count as a crash loop
        assert done.returncode == 0, done.stderr
        before = self.descriptors()
        with Load(self.site) as load:
            at = time.monotonic()
            remark = getattr(self, f"do_{name}")(load) or ""
            load.settle()
            row = load.row(TITLES[name], at)
        row.remark = remark
        row.left = self.leftovers(before)
        return row

    def descriptors(self) -> int:
        assert self.site.process is not None
        return len(os.listdir(f"/proc/{self.site.process.pid}/fd"))

    def leftovers(self, descriptors: int) -> list[str]:
        """Processes of the back ends' users that no part knows, files of theirs, descriptors of the supervisor."""
        uids = {pwd.getpwnam(self.site.user_of(name)).pw_uid for name in self.site.backends}

        def look() -> list[str]:
            known = {pid for part in self.site.status()["parts"] for pid in part["processes"]}
            found = [f"process {pid}" for pid in pids_of(uids) if pid not in known and alive(pid)]
            for name in self.site.backends:
                folder = self.site.state_directory / name
                found += [str(path) for path in folder.rglob("*") if path.name != "filling"]
            more = self.descriptors() - descriptors
            return found + ([f"{more} descriptors of the supervisor"] if more > 0 else [])

        deadline = time.monotonic() + 20
        while (found := look()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    # ---- ends

    def do_worker_killed(self, load: Load) -> None:
        part = self.site.part("victim")
        worker = part["workers"][0]["pid"]
        os.kill(worker, signal.SIGKILL)
        eventually("another is there", lambda: self.has_replaced(worker))

    def has_replaced(self, worker: int) -> bool:
        pids = {each["pid"] for each in self.site.part("victim")["workers"] if each["state"] != "starting"}
        return len(pids) == 2 and worker not in pids

    def do_back_end_killed(self, load: Load) -> None:
        self._kill("victim")

    def do_front_end_killed(self, load: Load) -> None:
        self._kill(self.front_end)

    def do_front_end_worker_killed(self, load: Load) -> None:
        """The process below nginx's own that answers; its main process starts another one."""
        main = self.site.part(self.front_end)["pid"]
        before = children_of(main)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually("another is there", lambda: set(children_of(main)) - set(before))

    def _kill(self, name: str) -> None:
        part = self.site.part(name)
        os.kill(part["pid"], signal.SIGKILL)
        eventually(f"{name} is back", lambda: self.is_back(name, part["pid"]))

    def is_back(self, name: str, pid: int) -> bool:
        part = self.site.part(name)
        return part["state"] == "ready" and part["pid"] != pid

    def do_supervisor_killed(self, load: Load) -> str:
        site = self.site
        assert site.process is not None
        children = [pid for part in site.status()["parts"] for pid in part["processes"]]
        site.process.kill()
        site.process.wait()
        eventually("its children are gone", lambda: not any(alive(pid) for pid in children))
        site.log.unlink()
        self.log.unlink()
        site.start()
        return "started again at once, as a service manager does"

    # ---- disks, descriptors, processes, memory

    def do_log_disk_full(self, load: Load) -> str:
        filling = self.disk / "filling"
        self._fill(filling)
        for _ in range(20):
            self.site.text("/victim/print?" + "x" * 2000)
        lost = eventually("lines are lost", lambda: self.site.status()["log"]["lost"])
        filling.unlink()
        self.site.text("/victim/print?room-again")
        eventually("that is told", lambda: re.search(r"\(\d+ lines lost: ", self.log.read_text("utf-8", "replace")))
        os.truncate(self.log, 0)
        return f"{lost} lines lost, counted and told"

    @staticmethod
    def _fill(path: Path) -> None:
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    def do_spool_disk_full(self, load: Load) -> str:
        said = set()
        for _ in range(5):
            connection = http.client.HTTPConnection("127.0.0.1", self.site.port, timeout=PATIENCE)
            try:
                headers = {"Host": "console.localhost"}
                connection.request("POST", "/victim/body", body=b"x" * (8 * MIB), headers=headers)
                said.add(str(connection.getresponse().status))
            except (OSError, http.client.HTTPException) as error:
                said.add(type(error).__name__)
            finally:
                connection.close()
        assert "200" not in said
        return f"five bodies of 8 MiB to a disk of 2 MiB: {', '.join(sorted(said))}"

    def do_descriptors_gone(self, load: Load) -> str:
        assert self.site.text("/victim/exhaust?1") == "24"
        workers = [worker["pid"] for worker in self.site.part("victim")["workers"]]
        eventually("they are free again", lambda: max(len(os.listdir(f"/proc/{pid}/fd")) for pid in workers) < 100)
        return "in one worker, for a second"

    def do_fork_bomb(self, load: Load) -> str:
        count = int(self.site.text("/victim/bomb"))
        load.settle()
        self._kill("victim")
        return f"{count} processes, then no more; ended with their back end"

    def do_memory_hog(self, load: Load) -> str:
        blocks = self.site.text("/victim/hog")
        return f"{int(blocks) * 8} MiB, then MemoryError"

    # ---- malice

    def do_scribbled_scoreboard(self, load: Load) -> None:
        for byte in (1, 255):
            self.site.text(f"/victim/scribble?{byte}")
            assert self.site.part("other")["state"] == "ready"
            assert self.site.sitectl("metrics").returncode == 0
        self._kill("victim")  # the figures of a worker that lies are wrong until it is replaced

    def do_never_accepts(self, load: Load) -> str:
        pids = [worker["pid"] for worker in self.site.part("victim")["workers"]]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            count = len(load.events["other"])
            eventually("the other answers meanwhile", lambda: len(load.events["other"]) > count + 50)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        return "its requests wait, those of the other do not"

    def do_wrong_user(self, load: Load) -> str:
        """Another back end's user, and in the front end's group all the same: the mode lets it in, the kernel tells."""
        account = pwd.getpwnam(self.site.user_of("other"))
        path = str(self.site.run_directory / "sockets" / "victim.sock")
        answered = as_user(account.pw_uid, pwd.getpwnam("www-data").pw_gid, lambda: connect_often(path))
        assert answered == "0"
        return f"{WRONG_CONNECTIONS} connections, none answered"

    def do_clock_jump(self, load: Load) -> str:
        """The supervisor's wall clock goes an hour back, two on, and is right again (wallclock.c)."""
        if "LD_PRELOAD" not in self.site.environment:
            return "left out: there is no compiler"
        clock = Path(self.site.environment["WALLCLOCK_FILE"])
        for offset in (-3600, 3600, 0):
            clock.write_text(f"{offset}\n")
            hours = [_hour(offset)]
            self._kill("victim")
            hours.append(_hour(offset))
            assert any(hour in self.log.read_text("utf-8", "replace") for hour in hours)
        return "an hour back, two on, one back, for the supervisor, which has to start the killed victim each time"

    # ---- reload

    def do_reload(self, load: Load) -> str:
        return self.reloads(3)

    def reloads(self, count: int) -> str:
        for _ in range(count):
            begun = time.monotonic()
            done = self.site.sitectl("reload")
            assert done.returncode == 0, done.stderr
            time.sleep(max(0.0, 1 - (time.monotonic() - begun)))
        return "every second"


TITLES = {
    "worker_killed": "kill -9 of a worker",
    "back_end_killed": "kill -9 of a back end",
    "front_end_killed": "kill -9 of the front end",
    "front_end_worker_killed": "kill -9 of the front end's worker",
    "supervisor_killed": "kill -9 of the supervisor",
    "log_disk_full": "full disk for the log",
    "spool_disk_full": "full disk for bodies",
    "descriptors_gone": "no descriptors left",
    "fork_bomb": "fork bomb",
    "memory_hog": "memory hog",
    "scribbled_scoreboard": "scribbles over the scoreboard",
    "never_accepts": "a back end that never accepts",
    "wrong_user": "connections from a wrong user",
    "clock_jump": "jumps of the clock",
    "reload": "reload under load",
}
FAIL_OTHERS = ("front_end_killed", "front_end_worker_killed", "supervisor_killed")
"""Faults of what all requests pass: the other back end's fail too."""

FRONT_ENDS = ("lighttpd", "nginx")


def faults_of(front_end: str) -> list[str]:
    """The names of the faults that can befall a site behind it: lighttpd is one process, nginx has workers."""
    return [name for name in TITLES if name != "front_end_worker_killed" or front_end == "nginx"]


def _hour(offset: int) -> str:
    return time.strftime("%Y-%m-%d %H", time.localtime(time.time() + offset))


def mount(folder: Path, options: str, mounted: list[Path]) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    mounted.append(folder)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pids_of(uids: set[int]) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid in uids:
                found.append(int(name))
        except OSError:
            continue
    return found


def connect_often(path: str) -> str:
    """How many of many connections were answered with a byte."""
    answered = 0
    for _ in range(WRONG_CONNECTIONS):
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE)
            channel.connect(path)
            try:
                channel.sendall(bytes([1, 9, 0, 0, 0, 8, 0, 0]) + bytes(8))
                answered += bool(channel.recv(1))
            except OSError:
                pass
    return str(answered)


def as_user(uid: int, gid: int, action: Callable[[], str]) -> str:
    """What `action` says in a process of this user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(writer, action().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
