"""What somebody who runs code of their own inside a back end of the demo can and cannot do, tried as that process.

The back ends have the rights that examples/appliance/site.toml declares, and an application that runs what it is told.
docs/privileges.md has the same rows.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, discard, open_folder, running_site

from framework.process import linux

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real"),
    pytest.mark.skipif(linux.landlock_version() < 6, reason="needs Landlock of Linux 6.12"),
]

ROOT = Path(__file__).resolve().parents[2]
DEMO = tomllib.loads((ROOT / "examples" / "appliance" / "site.toml").read_text())["backend"]
OTHER = {"status": "notes", "notes": "status"}
REFUSED = ("PermissionError", "OSError: [Errno 38]", "OSError: [Errno 97]")

CANNOT = {
    "become root": "os.setuid(0)",
    "become the other's user": "os.setuid(os.stat({other_state!r}).st_uid)",
    "list the other's folder": "os.listdir({other_state!r})",
    "read a file of the other's": "open({other_state!r} + '/secret').read()",
    "write into the other's folder": "open({other_state!r} + '/mine', 'w')",
    "talk to the other": "socket.socket(socket.AF_UNIX).connect({other_socket!r})",
    "talk to its own socket, as the front end does": "socket.socket(socket.AF_UNIX).connect({own_socket!r})",
    "give the supervisor orders": "socket.socket(socket.AF_UNIX).connect({control!r})",
    "say for the other that it is ready": (
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', {other_notify!r})"
    ),
    "signal the other": "os.kill({other_pid}, 0)",
    "signal the supervisor": "os.kill({supervisor}, 0)",
    "signal the front end": "os.kill({frontend}, 0)",
    "look into the other's memory": "open('/proc/{other_pid}/mem', 'rb').read(1)",
    "see the other's environment": "open('/proc/{other_pid}/environ').read()",
    "change its own code": "open(__file__, 'a')",
    "change the URL table that others read": "open({urls!r}, 'a')",
    "change the front end's configuration": "open({configuration!r}, 'a')",
    "read the site file": "open({site_file!r}).read()",
    "read the machine's passwords": "open('/etc/shadow').read()",
    "read what is open to everybody: /etc/hostname": "open('/etc/hostname').read()",
    "list /home": "os.listdir('/home')",
    "write into /tmp": "open('/tmp/left-behind', 'w')",
    "write into /dev/shm": "open('/dev/shm/left-behind', 'w')",
    "change a setting of the kernel": "open('/proc/sys/kernel/core_pattern', 'w')",
    "start a shell": "subprocess.run(['/bin/sh', '-c', 'id'])",
    "start a program that it brought": (
        "open('brought', 'w').write('#!/bin/sh\\nid\\n'); os.chmod('brought', 0o700); subprocess.run(['./brought'])"
    ),
    "open a connection": "socket.create_connection(('127.0.0.1', {port}), 5)",
    "listen on a port": "socket.socket(socket.AF_INET).bind(('127.0.0.1', 0))",
    "see the network's packets": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "trace a process": "checked(libc.ptrace(16, {other_pid}, 0, 0))",
    "mount a file system": "checked(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))",
    "get a user namespace, to be root there": "checked(libc.unshare(0x10000000))",
    "load code into the kernel": "checked(libc.syscall(321, 0, None, 0))",
}
"""What → code that raises PermissionError, or says that there is no such thing here."""

CAN = {
    "read and write its own folder": ("status notes", "open('own', 'w').write('x')"),
    "see which processes run, and as whom": ("status notes", "open('/proc/{other_pid}/status').read()"),
    "read figures of the machine in /sys": ("status", "os.listdir('/sys/class')"),
    "use processor time and memory": ("status notes", "len(bytearray(1 << 20))"),
    "ask whether a path exists": ("status notes", "os.stat('/etc/shadow')"),
}
"""What → the back ends that can, and code that raises nothing in these, and PermissionError in the other."""

PRELUDE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
"""


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    for name, keys in DEMO.items():
        site.add_backend(
            name, **{key: value for key, value in keys.items() if key not in ("application", "user", "path")}
        )
    try:
        with running_site(site):
            for name in DEMO:
                assert site.text(f"/{name}/write?{site.state_directory / name / 'secret'}") == "1"
            yield site
    finally:
        discard(folder)


def places(site: RunningSite, backend: str) -> dict[str, object]:
    """What the attacker needs to know, which is taken to be known."""
    other = OTHER[backend]
    pids = {part["name"]: part["pid"] for part in site.status()["parts"]}
    return {
        "other_state": str(site.state_directory / other),
        "other_socket": f"{site.run_directory}/sockets/{other}.sock",
        "own_socket": f"{site.run_directory}/sockets/{backend}.sock",
        "other_notify": f"{site.run_directory}/notify/{other}.sock",
        "control": f"{site.run_directory}/control.sock",
        "urls": f"{site.run_directory}/urls/{other}.json",
        "configuration": f"{site.run_directory}/lighttpd.conf",
        "site_file": str(site.file),
        "other_pid": pids[other],
        "frontend": pids["lighttpd"],
        "supervisor": site.process.pid if site.process else 0,
        "port": site.port,
    }


@pytest.fixture(scope="module")
def known(site: RunningSite) -> dict[str, dict[str, object]]:
    return {backend: places(site, backend) for backend in DEMO}


def tried(site: RunningSite, backend: str, code: str, known: dict[str, dict[str, object]]) -> str:
    text = PRELUDE + code.format(**known[backend]) + "\nsaid = 'done'\n"
    return site.text(f"/{backend}/run?{text.encode().hex()}")


@pytest.mark.parametrize("backend", DEMO)
@pytest.mark.parametrize("what", CANNOT)
def test_cannot(site: RunningSite, known: dict[str, dict[str, object]], backend: str, what: str) -> None:
    said = tried(site, backend, CANNOT[what], known)
    assert said.startswith(REFUSED), said


@pytest.mark.parametrize("backend", DEMO)
@pytest.mark.parametrize("what", CAN)
def test_can(site: RunningSite, known: dict[str, dict[str, object]], backend: str, what: str) -> None:
    """So that a refusal above is not one of everything."""
    backends, code = CAN[what]
    said = tried(site, backend, code, known)
    assert said == "'done'" if backend in backends.split() else said.startswith(REFUSED), said


def test_the_document_has_the_same_rows() -> None:
    section = (ROOT / "docs" / "privileges.md").read_text().split("### The demo's back ends")[1].split("\n#")[0]
    rows = re.findall(r"(?m)^\| (.+?) \| (can|cannot) \| (can|cannot) \|$", section)
    assert rows == [
        *((what, "cannot", "cannot") for what in CANNOT),
        *(
            (what, *("can" if name in backends.split() else "cannot" for name in ("status", "notes")))
            for what, (backends, _) in CAN.items()
        ),
    ]
