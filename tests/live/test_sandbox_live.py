"""What the sandbox keeps a back end from, tried by code that runs in it; and what each key of the site file opens."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from running_site import RunningSite, discard, open_folder, running_site

from framework.process import linux
from framework.process.landlock import Access
from framework.process.launcher import Launch, start
from framework.process.privileges import environment, resolve
from framework.process.proof import read_status
from framework.process.sandbox import TEMPORARY, USUAL, Sandbox, loaders
from framework.process.seccomp import build

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real"),
    pytest.mark.skipif(linux.landlock_version() < 6, reason="needs Landlock of Linux 6.12"),
]

DENIED = "PermissionError: [Errno 13] Permission denied"
REFUSED = "PermissionError: [Errno 1] Operation not permitted"


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    for name in ("shown", "kept"):
        (folder / name).mkdir()
        (folder / name).chmod(0o777)
        (folder / name / "file").write_text(name)
        (folder / name / "file").chmod(0o666)
    site.add_backend("one")
    site.add_backend(
        "wide",
        read=["shown"],
        write=["kept"],
        execute=["/bin/echo"],
        network=True,
        system_calls=["ipc", "debug"],
        nice=5,
    )
    site.add_backend("alone", private_network=True, capabilities=["net_raw"])
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def tried(site: RunningSite, backend: str, text: str) -> str:
    """What came of running `text` in this back end: what it put into `said`, or the error."""
    return site.text(f"/{backend}/run?{text.encode().hex()}")


def test_every_back_end_is_under_a_filter_of_system_calls(site: RunningSite) -> None:
    for part in site.status()["parts"]:
        if part["kind"] == "backend":
            for pid in part["processes"]:
                assert read_status(pid)["Seccomp"] == "2", part["name"]


@pytest.mark.parametrize(
    "path",
    ["/etc/hostname", "/etc/shadow", "/root/x", "/proc/1/cmdline", "/proc/1/environ", "/bin/sh", "/usr/share/doc"],
)
def test_files_of_the_system_are_closed(site: RunningSite, path: str) -> None:
    assert tried(site, "one", f"os.open({path!r}, os.O_RDONLY)").startswith(DENIED)


@pytest.mark.parametrize("path", ["/", "/home", "/etc", "/proc", "/tmp", "/var/log", "/usr/bin"])
def test_folders_of_the_system_cannot_be_listed(site: RunningSite, path: str) -> None:
    assert tried(site, "one", f"said = os.listdir({path!r})").startswith(DENIED)


@pytest.mark.parametrize("path", ["/tmp/x", "/var/tmp/x", "/dev/shm/x", "/run/x", "/run/lock/x"])
def test_nothing_can_be_left_in_places_that_are_open_to_everybody(site: RunningSite, path: str) -> None:
    assert tried(site, "one", f"open({path!r}, 'w')").startswith(("PermissionError", "FileNotFoundError"))


def test_a_file_that_everybody_may_read_is_closed_and_so_is_that_of_another_back_end(site: RunningSite) -> None:
    assert tried(site, "one", f"said = open({str(site.folder / 'shown' / 'file')!r}).read()").startswith(DENIED)
    other = site.state_directory / "wide"
    assert tried(site, "one", f"said = os.listdir({str(other)!r})").startswith(DENIED)
    assert tried(site, "one", f"said = open({str(site.file)!r}).read()").startswith(DENIED)


def test_its_own_folder_is_open_and_temporary_files_go_there(site: RunningSite) -> None:
    text = """
import tempfile
with open("note", "w") as file:
    file.write("kept")
os.rename("note", "moved"); os.mkdir("more"); os.rmdir("more")
said = (open("moved").read(), tempfile.gettempdir())
with tempfile.TemporaryFile() as file:
    file.write(b"x")
"""
    assert tried(site, "one", text) == repr(("kept", str(site.state_directory / "one")))


@pytest.mark.parametrize("program", ["/bin/sh", "/usr/bin/id", "/bin/echo"])
def test_no_program_of_the_system_can_be_started(site: RunningSite, program: str) -> None:
    assert tried(site, "one", f"said = subprocess.run([{program!r}])").startswith(DENIED)


def test_a_program_that_it_wrote_itself_cannot_be_started(site: RunningSite) -> None:
    text = (
        "import shutil\nopen('p', 'w').write('#!/bin/sh\\nid\\n'); os.chmod('p', 0o700); said = subprocess.run(['./p'])"
    )
    assert tried(site, "one", text).startswith(DENIED)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"])
def test_there_is_no_network(site: RunningSite, family: str) -> None:
    assert tried(site, "one", f"said = socket.socket(socket.{family}, socket.SOCK_RAW)").startswith(REFUSED)
    assert tried(site, "one", f"said = socket.socket(socket.{family})").startswith(REFUSED)


def test_unix_sockets_it_may_use(site: RunningSite) -> None:
    assert tried(site, "one", "a, b = socket.socketpair(); a.send(b'x'); said = b.recv(1)") == "b'x'"


CALLS = {
    "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
    "ptrace": "libc.ptrace(16, os.getppid(), 0, 0)",
    "unshare": "libc.unshare(0x10000000)",
    "chroot": "libc.chroot(b'.')",
    "settimeofday": "libc.syscall(164, None, None)",
    "setuid": "libc.setuid(0)",
    "kexec_load": "libc.syscall(246, 0, 0, None, 0)",
    "add_key": "libc.syscall(248, b'user', b'x', b'y', 1, -3)",
    "bpf": "libc.syscall(321, 0, None, 0)",
    "io_uring_setup": "libc.syscall(425, 1, None)",
    "process_vm_readv": "libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0)",
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="FASTCORE_PURE: the numbers of x86-64")
@pytest.mark.parametrize("call", CALLS)
def test_system_calls_that_gain_rights_are_refused(site: RunningSite, call: str) -> None:
    text = f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nsaid = ({CALLS[call]}, ctypes.get_errno())"
    assert tried(site, "one", text) == "(-1, 1)"


def test_other_processes_cannot_be_signalled_or_looked_into(site: RunningSite) -> None:
    supervisor = site.status()["pid"]
    other = site.part("wide")["pid"]
    for pid in (supervisor, other, 1):
        assert tried(site, "one", f"os.kill({pid}, 0)").startswith(REFUSED)
        assert tried(site, "one", f"open('/proc/{pid}/mem', 'rb')").startswith(DENIED)
    assert tried(site, "one", "said = os.kill(os.getpid(), 0)") == "None"


def test_what_is_declared_is_open(site: RunningSite) -> None:
    shown, kept = site.folder / "shown" / "file", site.folder / "kept" / "file"
    assert tried(site, "wide", f"said = open({str(shown)!r}).read()") == "'shown'"
    assert tried(site, "wide", f"open({str(shown)!r}, 'w')").startswith(DENIED)
    assert tried(site, "wide", f"open({str(kept)!r}, 'w').write('new')") == "None"
    assert kept.read_text() == "new"
    text = "said = subprocess.run(['/bin/echo', 'hello'], capture_output=True).stdout"
    assert tried(site, "wide", text) == "b'hello\\n'"
    assert tried(site, "wide", "said = subprocess.run(['/bin/sh'])").startswith(DENIED)
    assert tried(site, "wide", "said = os.getpriority(os.PRIO_PROCESS, 0)") == "5"


def test_the_network_is_open_where_it_is_declared(site: RunningSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert tried(site, "wide", f"said = socket.create_connection(('127.0.0.1', {port}), 20).recv(0)") == "b''"
    assert tried(site, "wide", "said = socket.getaddrinfo('localhost', 80)[0][4]") != ""
    assert "Error" not in tried(site, "wide", "said = socket.getaddrinfo('localhost', 80)[0][4]")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="FASTCORE_PURE: the numbers of x86-64")
def test_sets_of_system_calls_are_open_where_they_are_declared(site: RunningSite) -> None:
    text = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
number = libc.shmget(0, 4096, 0o1600)
libc.shmctl(number, 0, None)
said = number >= 0
"""
    assert tried(site, "wide", text) == "True"
    assert tried(site, "one", text) == "False"


def test_a_back_end_with_a_network_of_its_own_sees_no_interface(site: RunningSite) -> None:
    assert Path(f"/proc/{site.part('alone')['pid']}/net/dev").read_text().count(":") == 1  # lo, which is down
    assert os.readlink(f"/proc/{site.part('alone')['pid']}/ns/net") != os.readlink("/proc/self/ns/net")


def test_a_capability_that_is_declared_is_there_and_no_other(site: RunningSite) -> None:
    status = read_status(site.part("alone")["pid"])
    assert {status[key] for key in ("CapEff", "CapBnd", "CapAmb")} == {"0000000000002000"}


def test_a_private_tmp_is_its_own_and_empty() -> None:
    rights = resolve("nobody")
    access = Access(write=TEMPORARY, execute=("/bin/sh", "/bin/ls", *loaders()), usual=(*USUAL, "/usr/bin"))
    boxed = replace(rights, sandbox=Sandbox(access, build(), private_tmp=True))
    script = "echo x >/tmp/kept-apart && ls -A /tmp /var/tmp"
    started = start(Launch(("/bin/sh", "-c", script), environment(rights, home="/", extra={}), boxed))
    os.waitpid(started.pid, 0)
    with open(started.output, "rb") as output, open(started.errors, "rb") as errors:
        assert (output.read().split(), errors.read()) == ([b"/tmp:", b"kept-apart", b"/var/tmp:"], b"")
    assert not os.path.exists("/tmp/kept-apart")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"read": ["/no/such/place"]}, r"back end 'one': read names /no/such/place, which does not exist"),
        (
            {"system_calls": ["teleport"]},
            r"system_calls names 'teleport', which is neither a system call nor one of the",
        ),
        ({"capabilities": ["sys_everything"]}, r"unknown capability 'sys_everything'"),
        ({"network": True, "private_network": True}, r"site\.toml:\d+: error: backend\.one\.private_network"),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused_before_anything_starts(keys: dict[str, object], message: str) -> None:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("one", **keys)
    try:
        site.write_site()
        site.sitectl("setup")
        done = site.sitectl("run")
        assert done.returncode == 1
        assert re.search(message, done.stderr), done.stderr
        assert "Traceback" not in done.stderr
    finally:
        site.sitectl("remove", "--yes")
        discard(folder)
