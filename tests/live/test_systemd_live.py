"""`sitectl systemd`: systemd takes the units; what they start, started as systemd would, is the same site."""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import PATIENCE, RunningSite, discard, eventually, open_folder

from framework.process.linux import landlock_version

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed"),
]

SUPPORT = Path(__file__).resolve().parents[1] / "support"
PAGES = """
from framework import App
def link(request):
    return request.get_url("pages:here") + " " + request.get_url("other:there")
def page(request):
    return "page"
app = App([(r"^/link$", link, "here"), (r"^/page$", page, "there")])
"""

FRESH = """
from pathlib import Path
{more}
def app(environ, start_response):
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("{version} " + status["Seccomp"].strip()).encode()]
"""


class Unit:
    """The directives of a unit file, as systemd.syntax(7) reads them."""

    def __init__(self, path: Path) -> None:
        self.values: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.values.setdefault(key, []).append(value.replace("%%", "%").strip())

    def __getitem__(self, key: str) -> str:
        return self.values[key][-1]

    def words(self, key: str) -> list[str]:
        return [word for value in self.values.get(key, []) for word in shlex.split(value)]

    @property
    def text(self) -> str:
        """What StandardInputText= gives."""
        return "".join(value.replace("\\\\", "\\") + "\n" for value in self.values["StandardInputText"])


class Manager:
    """Plays systemd's part for one site: sockets, then services as their unit files say."""

    def __init__(self, site: RunningSite, units: Path) -> None:
        self.site = site
        self.units = units
        self.listeners: dict[str, socket.socket] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.news: dict[str, socket.socket] = {}

    def unit(self, name: str, kind: str) -> Unit:
        return Unit(self.units / f"{self.site.name}-{name}.{kind}")

    def listen(self, name: str) -> None:
        unit = self.unit(name, "socket")
        path = Path(unit["ListenStream"])
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        listener = self.listeners[name] = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        shutil.chown(path, unit["SocketUser"], unit["SocketGroup"])
        path.chmod(int(unit["SocketMode"], 8))
        listener.listen(128)

    def log_of(self, name: str) -> str:
        path = self.site.folder / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self, name: str, *, drop: bool = True, watchdog: bool = False) -> None:
        unit = self.unit(name, "service")
        environment = dict(word.split("=", 1) for word in unit.words("Environment"))
        news = self.site.folder / f"{name}.notify"
        news.unlink(missing_ok=True)
        if name in self.news:
            self.news.pop(name).close()
        self.news[name] = channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        channel.bind(str(news))
        channel.settimeout(PATIENCE)
        news.chmod(0o666)
        environment["NOTIFY_SOCKET"] = str(news)
        if watchdog:
            environment["WATCHDOG_USEC"] = "400000"
        self.credentials(name, unit, environment)
        command = [word.replace("$$", "$") for word in shlex.split(unit["ExecStart"])]
        fds: tuple[int, ...] = ()
        if name in self.listeners:
            fds = (self.listeners[name].fileno(),)
            command = [sys.executable, str(SUPPORT / "activator.py"), str(fds[0]), name, *command]
        if drop:
            rights = ["--reuid", unit["User"], "--regid", unit["Group"], "--init-groups", "--no-new-privs"]
            sets = ["--inh-caps=-all", "--bounding-set=-all"]
            assert unit["CapabilityBoundingSet"] == unit["AmbientCapabilities"] == ""
            command = ["setpriv", *rights, *sets, *command]
        limits = [
            f"--{option}={value}:{value}"
            for option, key in (("core", "LimitCORE"), ("nofile", "LimitNOFILE"), ("nproc", "LimitNPROC"))
            for value in unit.values.get(key, [])
        ]
        with open(self.site.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                ["prlimit", *limits, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=unit["WorkingDirectory"],
                env=environment,
                pass_fds=fds,
                umask=int(unit["UMask"], 8),
            )
        stdin = self.processes[name].stdin
        assert stdin is not None
        stdin.write(unit.text.encode() if "StandardInputText" in unit.values else b"")
        stdin.close()

    def credentials(self, name: str, unit: Unit, environment: dict[str, str]) -> None:
        if "LoadCredential" not in unit.values:
            return
        folder = self.site.folder / f"{name}.credentials"
        folder.mkdir(exist_ok=True)
        for each in unit.values["LoadCredential"]:
            key, _, file = each.partition(":")
            shutil.copy(file, folder / key)
            shutil.chown(folder / key, unit["User"])
            (folder / key).chmod(0o400)
        environment["CREDENTIALS_DIRECTORY"] = str(folder)

    def told(self, name: str, what: str) -> str:
        """The first message with these words in it."""
        while what not in (message := self.news[name].recv(4096).decode()):
            pass
        return message

    def reload(self, name: str) -> subprocess.CompletedProcess[str]:
        """As `systemctl reload` runs it: as the unit's user, with the variables of the unit."""
        unit = self.unit(name, "service")
        command = shlex.split(unit["ExecReload"].replace("$MAINPID", str(self.processes[name].pid)))
        rights = ["--reuid", unit["User"], "--regid", unit["Group"], "--init-groups", "--no-new-privs"]
        variables = dict(word.split("=", 1) for word in unit.words("Environment"))
        return subprocess.run(["setpriv", *rights, *command], env=variables, capture_output=True, text=True)

    def stop(self, name: str) -> int:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(PATIENCE)
        finally:
            process.kill()

    def close(self) -> None:
        for name in list(self.processes):
            self.stop(name)
        for channel in (*self.listeners.values(), *self.news.values()):
            channel.close()


@pytest.fixture(scope="module")
def manager() -> Iterator[Manager]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    token = folder / "a \\token"
    token.write_text("secret")
    awkward = 'a "b" $HOME 100% \\n'
    site.add_backend("one", credentials={"token": str(token)}, environment={"SAY": awkward})
    site.add_backend("two", workers=2)
    site.add_backend("single")
    site.add_backend("pair", workers=2)
    site.add_backend("pages", application="pages:app")
    site.add_backend("other", application="pages:app")
    site.add_backend("fresh", application="fresh:app")
    site.write_code("pages.py", PAGES)
    site.write_code("fresh.py", FRESH.format(version="one", more=""))
    units = folder / "units"
    units.mkdir()
    manager = Manager(site, units)
    try:
        site.setup()
        done = site.sitectl("systemd", "--output", str(units))
        assert done.returncode == 0, done.stderr
        for name in site.backends:
            manager.listen(name)
        front = manager.unit("lighttpd", "service")
        runtime = Path("/run", front["RuntimeDirectory"])
        runtime.mkdir(mode=0o700)
        shutil.chown(runtime, front["User"], front["Group"])
        manager.start("lighttpd")
        for name in ("one", "two", "pages", "other"):
            manager.start(name, watchdog=name == "two")
            manager.told(name, "READY=1")
        eventually("lighttpd listens", lambda: reachable(site))
        yield manager
    finally:
        manager.close()
        shutil.rmtree(site.run_directory, ignore_errors=True)
        site.remove()
        discard(folder)


def reachable(site: RunningSite) -> bool:
    try:
        return site.get("/static/hello.txt")[0] == 200
    except OSError:
        return False


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units_and_calls_them_well_closed(manager: Manager) -> None:
    units = [str(path) for path in manager.units.iterdir() if path.suffix in (".socket", ".service", ".target")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager"]
    for service in (unit for unit in units if unit.endswith(".service")):
        done = subprocess.run([*words, service], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout  # an exposure level of at most 2.5 of 10


def test_each_back_end_answers_through_the_front_end_as_its_own_user(manager: Manager) -> None:
    for name in ("one", "two"):
        uid = pwd.getpwnam(manager.site.user_of(name)).pw_uid
        assert manager.site.text(f"/{name}/").split()[0] == str(uid)


def test_it_proves_what_it_may_and_says_it(manager: Manager) -> None:
    said = manager.log_of("one")
    uid = pwd.getpwnam(manager.site.user_of("one")).pw_uid
    proof = re.search(r"<6>confined: (.*)", said)
    assert proof is not None, said
    assert f"Uid {uid} {uid} {uid} {uid}" in proof[1]
    assert "CapEff 0000000000000000, CapBnd 0000000000000000, NoNewPrivs 1, Seccomp 2" in proof[1]
    status = manager.site.text("/one/status")
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status


def test_the_same_files_and_calls_are_closed_as_under_the_supervisor(manager: Manager) -> None:
    site = manager.site
    assert "PermissionError" in site.text("/one/list?/")
    assert "PermissionError" in site.text("/one/read?/etc/hostname")
    assert "PermissionError" in site.text(f"/one/write?{site.folder}/code/x")
    network = b"import socket; socket.socket(socket.AF_INET)".hex()
    assert "PermissionError" in site.text(f"/one/run?{network}")
    unshare = "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.unshare(0x10000000); said = ctypes.get_errno()"
    assert site.text(f"/one/run?{unshare.encode().hex()}") == "1"
    assert site.text(f"/one/write?{site.state_directory}/one/file") == "1"


def test_the_application_cannot_get_at_the_process_that_keeps_it(manager: Manager) -> None:
    """It has the same user, so nothing but the sandbox is between them."""
    site = manager.site
    keeper = manager.processes["one"].pid
    assert site.text("/one/").split()[2] == str(keeper)
    for name in ("mem", "environ", "maps", "fd"):
        assert "PermissionError" in site.text(f"/one/read?/proc/{keeper}/{name}"), name
    trace = "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.ptrace(16, {0}, 0, 0); said = ctypes.get_errno()"
    assert site.text(f"/one/run?{trace.format(keeper).encode().hex()}") == "1"
    if landlock_version() < 6:
        return  # before Linux 6.12 it may end it, and itself with it, and have new code loaded
    order = "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('\\0framework-keeper/{0}')"
    for code in ("import os; os.kill({0}, 15)", order):
        assert "PermissionError" in site.text(f"/one/run?{code.format(keeper).encode().hex()}"), code


def test_secrets_and_variables_arrive_as_they_are(manager: Manager) -> None:
    site = manager.site
    assert "secret" in site.text(f"/one/read?{site.folder}/one.credentials/token")
    environment = site.text("/one/environment")
    assert 'SAY=a "b" $HOME 100% \\n' in environment
    assert not re.search(r"NOTIFY_SOCKET|LISTEN_|WATCHDOG", environment)


def test_back_ends_know_each_others_addresses(manager: Manager) -> None:
    assert manager.site.text("/pages/link") == "/pages/link /other/page"


def test_the_spec_is_the_text_of_the_unit(manager: Manager) -> None:
    spec = json.loads(manager.unit("one", "service").text)
    assert spec["application"] == "appl:app"
    assert spec["confinement"]["write"] == [str(manager.site.state_directory / "one")]


def test_signs_of_life_come_where_a_watchdog_waits(manager: Manager) -> None:
    assert "WatchdogSec" in manager.unit("two", "service").values
    for _ in range(3):
        assert manager.told("two", "WATCHDOG=1") == "WATCHDOG=1"


@pytest.mark.parametrize("name", ["single", "pair"])
def test_while_it_is_started_again_requests_wait_and_what_has_begun_is_finished(manager: Manager, name: str) -> None:
    site = manager.site
    sleeping = site.state_directory / name / "sleeping"
    answers: dict[str, tuple[int, str]] = {}

    def ask(key: str, path: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: answers.__setitem__(key, site.get(path)))
        thread.start()
        return thread

    manager.start(name)
    manager.told(name, "READY=1")
    begun = ask("begun", f"/{name}/sleep?0.5")
    eventually("the request has begun", sleeping.exists)
    assert manager.stop(name) == 0
    manager.told(name, "STOPPING=1")
    waiting = ask("waiting", f"/{name}/")
    manager.start(name)
    manager.told(name, "READY=1")
    for thread in (begun, waiting):
        thread.join(PATIENCE)
    assert answers["begun"] == (200, "slept")
    assert answers["waiting"][0] == 200
    assert manager.stop(name) == 0


def test_new_code_is_tried_before_the_old_goes_and_no_request_fails(manager: Manager) -> None:
    site = manager.site
    code = Path(site.folder, "code", "fresh.py")
    code.write_text(FRESH.format(version="one", more=""))
    manager.start("fresh")
    manager.told("fresh", "READY=1")
    failed: list[object] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answer = site.get("/fresh/")
            if answer[0] != 200:
                failed.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for version in ("two", "three"):
            code.write_text(FRESH.format(version=version, more=""))
            assert manager.reload("fresh").returncode == 0
            assert site.text("/fresh/") == f"{version} 2"  # as closed as the first: seccomp's mode
            code.write_text(FRESH.format(version="broken", more="1 / 0"))
            done = manager.reload("fresh")
            assert (done.returncode, "ZeroDivisionError" in done.stderr) == (1, True)
            assert site.text("/fresh/") == f"{version} 2"
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failed == []
    assert manager.stop("fresh") == 0


def test_it_does_not_start_wider_than_declared(manager: Manager) -> None:
    manager.stop("other")
    manager.start("other", drop=False)
    assert manager.processes.pop("other").wait(PATIENCE) == 77
    assert "its rights are not as declared" in manager.log_of("other")
    assert "ERRNO=77" in manager.told("other", "ERRNO")
