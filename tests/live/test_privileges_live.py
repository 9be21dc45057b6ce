"""What each process of a running site may do, read from the kernel and tried as that process; a wrong drop ends it."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, discard, eventually, open_folder, running_site

from framework.process.launcher import Launch, LaunchError, sealed_file, start
from framework.process.parts import backend_part
from framework.process.privileges import (
    SECURE_BITS,
    STEPS,
    Drop,
    PrivilegeError,
    Privileges,
    apply,
    environment,
    resolve,
)
from framework.process.proof import read_status
from framework.process.view import Tree, ViewError, plan
from framework.site import load

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")

NO_CAPABILITIES = "0000000000000000"
BIND_LOW_PORTS = "0000000000000400"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder, environment={**os.environ, "SECRET_OF_THE_CALLER": "x", "PYTHONPATH": "/nowhere"})
    site.add_backend("one", environment={"GREETING": "hello"})
    site.add_backend("two", workers=2, groups=["audio"], working_directory="/usr/share/zoneinfo")
    site.add_backend("open", sandbox=False)
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def processes(site: RunningSite) -> list[tuple[str, int, str]]:
    """(part, pid, user) of every process of the site but the supervisor."""
    return [(part["name"], pid, part["user"]) for part in site.status()["parts"] for pid in part["processes"]]


def test_every_process_has_the_ids_groups_and_capabilities_of_its_part_and_no_more(site: RunningSite) -> None:
    found = processes(site)
    assert len(found) == 6
    for name, pid, user in found:
        account = pwd.getpwnam(user)
        status = read_status(pid)
        assert status["Uid"].split() == [str(account.pw_uid)] * 4, name
        assert status["Gid"].split() == [str(account.pw_gid)] * 4, name
        declared = [grp.getgrnam("audio").gr_gid] if name == "two" else []
        groups = {*os.getgrouplist(user, account.pw_gid), *declared}
        assert {int(text) for text in status["Groups"].split()} == groups, name
        for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert status[key] == NO_CAPABILITIES, (name, key)
        assert status["NoNewPrivs"] == "1", name


def test_no_way_leads_back_to_root_not_even_a_set_user_id_program(site: RunningSite) -> None:
    program = site.folder / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    try:
        *attempts, said = site.text(f"/open/become?{program}").splitlines()
    finally:
        program.unlink()
    assert attempts == ["PermissionError: [Errno 1] Operation not permitted"] * 4
    user = site.user_of("open")
    assert said.startswith(f"uid={pwd.getpwnam(user).pw_uid}({user}) gid=")
    assert "euid" not in said
    assert "root" not in said


def test_uid_0_means_nothing_and_no_capability_can_become_ambient_again(site: RunningSite) -> None:
    """securebits(7): nobody but the process itself can ask for its own."""
    for name in ("one", "two", "open"):
        assert int(site.text(f"/{name}/securebits")) == SECURE_BITS


def test_a_back_end_starts_in_its_own_folder_or_in_that_which_is_declared(site: RunningSite) -> None:
    assert site.text("/one/where") == str(site.state_directory / "one")
    assert site.text("/two/where") == "/usr/share/zoneinfo"
    assert f"HOME={site.state_directory / 'two'}" in site.text("/two/environment").split(" ")


def test_no_two_parts_share_a_user_and_none_is_root(site: RunningSite) -> None:
    users = {part["name"]: part["uid"] for part in site.status()["parts"]}
    assert len(set(users.values())) == len(users)
    assert 0 not in users.values()


def test_each_part_is_a_session_of_its_own_without_a_terminal(site: RunningSite) -> None:
    leaders = {part["pid"] for part in site.status()["parts"]}
    for _, pid, _ in processes(site):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(fields[3]) in leaders
        assert fields[4] == "0"


def test_limits_and_umask(site: RunningSite) -> None:
    for _, pid, _ in processes(site):
        limits = dict(re.findall(r"^(Max [a-z ]+?) {2,}(\S+ +\S+)", Path(f"/proc/{pid}/limits").read_text(), re.M))
        assert limits["Max core file size"].split() == ["0", "0"]
        assert limits["Max processes"].split() == ["512", "512"]
        assert int(limits["Max open files"].split()[1]) <= 4096
    assert read_status(site.part("one")["pid"])["Umask"] == "0077"
    assert read_status(site.part("lighttpd")["pid"])["Umask"] == "0027"


def test_the_environment_is_what_is_listed_and_nothing_else(site: RunningSite) -> None:
    state = site.state_directory / "one"
    user = site.user_of("one")
    found = dict(item.split("=", 1) for item in site.text("/one/environment").split(" "))
    assert found.pop("GREETING") == "hello"
    passed = {name for name in ("FASTCORE_PURE", "FASTCORE_REQUIRE_COMPILED", "TZ") if name in os.environ}
    assert set(found) - passed == {
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONUNBUFFERED",
        "TMPDIR",
        "USER",
    }
    assert (found["HOME"], found["USER"], found["LOGNAME"]) == (str(state), user, user)


def test_a_process_of_the_site_holds_no_descriptor_of_another(site: RunningSite) -> None:
    found = dict(item.split(":", 1) for item in site.text("/one/descriptors").split(" "))
    assert found["0"] == "/dev/null"
    files = [link for link in found.values() if link.startswith("/") and not link.startswith(("/dev/null", "/proc/"))]
    assert files == []
    assert not any("memfd" in link for link in found.values())


def test_a_back_end_reads_and_writes_its_own_state_and_not_the_others(site: RunningSite) -> None:
    own, other = site.state_directory / "one", site.state_directory / "two"
    assert site.text(f"/one/write?{own}/note") == "1"
    assert (own / "note").stat().st_mode & 0o777 == 0o600
    assert site.text(f"/one/read?{own}/note") == "'x'"
    assert site.text(f"/two/read?{own}/note").startswith("PermissionError")
    assert site.text(f"/two/list?{own}").startswith("PermissionError")
    assert site.text(f"/two/write?{own}/other").startswith("PermissionError")
    assert site.text(f"/one/list?{other}").startswith("PermissionError")


def test_a_back_end_writes_nothing_that_the_supervisor_or_the_front_end_reads(site: RunningSite) -> None:
    run = site.run_directory
    for path in (
        "sockets/x",
        "urls/one.json",
        "urls/x",
        "lighttpd.conf",
        "supervisor.pid",
        "x",
        "frontend/x",
        "children",
    ):
        assert site.text(f"/one/write?{run}/{path}").startswith("PermissionError"), path
    assert site.text(f"/one/write?{site.folder}/code/appl.py").startswith("PermissionError")
    for path in ("children", "frontend"):
        assert site.text(f"/one/read?{run}/{path}").startswith("PermissionError"), path


def test_a_back_end_cannot_signal_anything_of_another_part(site: RunningSite) -> None:
    for name, pid, _ in processes(site):
        answer = site.text(f"/one/kill?{pid}")
        assert answer == ("None" if name == "one" else "PermissionError: [Errno 1] Operation not permitted"), name
    assert site.text(f"/one/kill?{site.process.pid}").startswith("PermissionError")


@pytest.mark.parametrize("target", ["one", "two"])
@pytest.mark.parametrize("caller", ["one", "two"])
def test_no_back_end_connects_to_any_back_ends_socket(site: RunningSite, caller: str, target: str) -> None:
    """Not even to its own: only the front end may."""
    path = site.run_directory / "sockets" / f"{target}.sock"
    assert site.text(f"/{caller}/connect?{path}") == "PermissionError: [Errno 13] Permission denied"


def test_the_front_ends_group_alone_does_not_open_a_back_end(site: RunningSite) -> None:
    """The socket's mode lets the group in; the back end asks for the user and hangs up on all but the front end's."""
    path = site.run_directory / "sockets" / "one.sock"
    code = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1])\n"
        "s.sendall(bytes([1,9,0,0,0,8,0,0])+bytes(8)); print(s.recv(100) != b'')"
    )
    for user, expected in (("www-data", "True\n"), ("nobody", "")):
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code, str(path)],
            user=user,
            group="www-data",
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        if expected:
            assert (done.stdout, done.stderr) == (expected, "")
        else:
            assert done.stdout == "False\n" or "Error" in done.stderr


def test_only_the_back_ends_own_process_can_call_itself_ready(site: RunningSite) -> None:
    code = "import socket,sys; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'STATUS=forged', sys.argv[1])"
    path = str(site.run_directory / "notify" / "one.sock")
    command = ["/usr/bin/python3", "-c", code, path]
    for user in ("nobody", site.user_of("two")):
        assert (
            "PermissionError" in subprocess.run(command, user=user, capture_output=True, text=True, check=False).stderr
        )
    for user in (site.user_of("one"), "root"):
        assert subprocess.run(command, user=user, capture_output=True, text=True, check=False).stderr == ""
    assert site.part("one")["status"] == "serving"


def test_the_supervisor_loads_no_application_no_http_and_no_fastcgi(site: RunningSite) -> None:
    code = (
        "import sys; import framework.cli.run, framework.process.supervisor, framework.process.layout\n"
        "names = ('framework', 'fastcore', 'http', 'socketserver', 'asyncio')\n"
        "print(*sorted(name for name in sys.modules if name.startswith(names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    allowed = re.compile(
        r"framework(\.(cli|process|site|frontends)(\..*)?)?|framework\.(mounts|urls|errors|folders)"
        r"|fastcore|fastcore\.(scoreboard|values)"  # its reading end: plain data, bounded
    )
    assert [name for name in loaded if not allowed.fullmatch(name)] == []
    assert "framework.process.backend" not in loaded


# ---- the port of the front end


def low_port() -> int:
    import socket

    for port in range(1023, 500, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    pytest.skip("needs a free port below 1024")


def test_on_a_port_below_1024_the_front_end_has_the_one_capability_for_it() -> None:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.port = low_port()
    site.add_backend("one")
    try:
        with running_site(site):
            assert site.text("/one/").split()[0] == str(pwd.getpwnam(site.user_of("one")).pw_uid)
            status = read_status(site.part("lighttpd")["pid"])
            for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert status[key] == BIND_LOW_PORTS, key
            assert status["NoNewPrivs"] == "1"
            assert read_status(site.part("one")["pid"])["CapBnd"] == NO_CAPABILITIES
    finally:
        discard(folder)


# ---- the drop itself, and its proof


def in_child(privileges: Privileges, steps: tuple[str, ...] = ()) -> str:
    """What `apply` says in a forked child, with the named steps left out; "" where it is content."""
    from framework.process import privileges as module

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            module.STEPS = tuple(step for step in STEPS if step[0] not in steps)
            apply(Drop(privileges, os.getppid(), keep=frozenset({0, 1, 2, writer})))
        except PrivilegeError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def test_a_complete_drop_is_proved() -> None:
    assert in_child(resolve("nobody")) == ""


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        ("user", "Uid is {0}, declared {65534}"),
        ("user", "setuid(0) succeeded"),
        ("group", "Gid is {0}, declared {65534}"),
        ("supplementary groups", "Groups is"),
        ("bounding set", "CapBnd is 0x"),
        ("no new privileges", "NoNewPrivs is 0, declared 1"),
        ("secure bits", "securebits are 0x"),
    ],
)
def test_a_step_that_is_left_out_is_found_by_the_proof(left_out: str, expected: str) -> None:
    if left_out == "supplementary groups" and not set(os.getgroups()) - {0}:
        os.setgroups([0, 4])
    said = in_child(resolve("nobody"), (left_out,))
    assert said.startswith("rights are not as declared: ")
    assert expected in said


def test_a_refused_step_is_named() -> None:
    code = "from framework.process.privileges import *; import os\napply(Drop(resolve('www-data'), os.getppid()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, user="nobody", capture_output=True, text=True, check=False
    )
    assert "PrivilegeError: privileges, step 'supplementary groups': Operation not permitted" in done.stderr


def test_a_back_end_whose_rights_differ_from_its_spec_does_not_start(site: RunningSite) -> None:
    """The second proof: the back end's own, against the sealed spec."""
    import json

    from framework.process.spec import spec_of

    declared = load(site.file)
    part = backend_part(declared, declared.backends["one"])
    for change, expected in (
        ({"uid": part.privileges.uid + 1}, "Uid is"),
        ({"groups": []}, ""),
        ({"capabilities": 1024}, "CapEff is 0x0, declared 0x400"),
    ):
        expected_rights = {**part.privileges.to_spec(), **change}
        spec = sealed_file("spec", json.dumps(spec_of(declared, "one", privileges=expected_rights)).encode())
        started = start(part.launch({0: spec}, (), {}))
        os.close(spec)
        said = b""
        while data := read_waiting(started.errors):
            said += data
        _, status = os.waitpid(started.pid, 0)
        os.close(started.output)
        os.close(started.errors)
        if expected:
            assert os.waitstatus_to_exitcode(status) == 77
            assert "does not start, its rights are not as declared: " in said.decode()
            assert expected in said.decode()
        else:
            assert b"no listener was passed" in said


def read_waiting(number: int) -> bytes:
    os.set_blocking(number, True)
    return os.read(number, 65536)


def test_a_program_that_cannot_be_executed_is_a_launch_error() -> None:
    rights = resolve("nobody")
    variables = environment(rights, home="/", extra={})
    with pytest.raises(LaunchError, match=r"/no/such/program: .*No such file"):
        start(Launch(("/no/such/program",), variables, rights))
    with pytest.raises(LaunchError, match=r"step 'working directory': Permission denied"):
        start(Launch(("/bin/true",), variables, rights, directory="/root"))


def test_supplementary_groups_are_those_of_the_group_file() -> None:
    name = f"t{os.getpid():x}-groups"
    subprocess.run(["groupadd", "--system", f"{name}-extra"], check=True)
    subprocess.run(
        ["useradd", "--system", "--user-group", "--groups", f"{name}-extra", "--no-create-home", name], check=True
    )
    try:
        rights = resolve(name)
        assert grp.getgrnam(f"{name}-extra").gr_gid in rights.groups
        assert in_child(rights) == ""
    finally:
        subprocess.run(["userdel", name], check=True)
        subprocess.run(["groupdel", f"{name}-extra"], check=True)


# ---- views


@pytest.fixture
def closed() -> Iterator[Path]:
    """A directory that only root may enter."""
    folder = open_folder(Path())
    folder.chmod(0o700)
    yield folder
    discard(folder)


def test_a_site_in_a_closed_checkout_is_shown_to_its_back_ends_and_nothing_else_of_it(closed: Path) -> None:
    """The whole checkout, its virtual environment and the site lie below a directory of mode 0700."""
    checkout = closed / "checkout"
    for package in ("fastcore", "framework"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(checkout / ".venv")], check=True)
    python = str(checkout / ".venv" / "bin" / "python")
    packages = next((checkout / ".venv").glob("lib/python*/site-packages"))
    for each in Path(next(path for path in sys.path if path.endswith("site-packages"))).iterdir():
        if each.name.startswith(("orjson", "markupsafe")):
            shutil.copytree(each, packages / each.name)
    (packages / "checkout.pth").write_text(f"{checkout}\n")
    (checkout / "secret").write_text("not for back ends")
    (closed / "secret").write_text("not for back ends")
    folder = checkout / "site"
    folder.mkdir(mode=0o700)
    site = RunningSite(folder, python=python, environment={"PATH": os.environ["PATH"]})
    site.add_backend("one", sandbox=False)  # which would close more than the view that is tried here
    site.add_backend("two")
    with running_site(site):
        assert site.text("/two/").split()[0] == str(pwd.getpwnam(site.user_of("two")).pw_uid)
        assert site.text("/one/").split()[0] == str(pwd.getpwnam(site.user_of("one")).pw_uid)
        assert site.text("/static/hello.txt") == "hello"
        assert Path(f"/proc/{site.part('one')['pid']}/cmdline").read_text().split("\0")[0] == python
        assert site.text(f"/one/list?{closed}") == "checkout"
        assert site.text(f"/one/list?{checkout}") == ".venv fastcore framework site"
        assert site.text(f"/one/list?{folder}") == "code"
        for path in (closed / "secret", checkout / "secret", folder / "site.toml"):
            assert site.text(f"/one/read?{path}").startswith("FileNotFoundError"), path
        for path in (folder / "code" / "appl.py", closed / "x", checkout / "framework" / "x.py"):
            assert site.text(f"/one/write?{path}").startswith(("OSError: [Errno 30]", "PermissionError")), path
        assert site.part("one")["view"] == [str(closed)]
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(closed) not in mounts
    assert (closed / "secret").read_text() == "not for back ends"


def test_an_interpreter_in_a_closed_directory_is_shown(closed: Path) -> None:
    """As with an interpreter that root built below its own home directory."""
    found = sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python3"))
    if not found:
        pytest.skip("needs Python 3.12 below a closed directory")
    code = closed / "code"
    code.mkdir()
    (code / "hello.py").write_text("print('hello')")
    rights = resolve("nobody")
    prefix = found[-1].parents[1]
    view = plan([Tree(str(prefix)), Tree(str(code))], rights.user, rights.uid, rights.gid, rights.groups)
    assert view is not None
    started = start(
        Launch((str(found[-1]), str(code / "hello.py")), environment(rights, home="/", extra={}), rights, "/", view)
    )
    said = read_waiting(started.output)
    os.waitpid(started.pid, 0)
    os.close(started.output)
    os.close(started.errors)
    assert said == b"hello\n"


def shown(view_of: list[Tree], script: str) -> str:
    rights = resolve("nobody")
    view = plan(view_of, rights.user, rights.uid, rights.gid, rights.groups)
    assert view is not None
    launch = Launch(("/bin/sh", "-c", script), environment(rights, home="/", extra={}), rights, "/", view)
    started = start(launch)
    os.set_blocking(started.output, True)
    with open(started.output, encoding="utf-8") as output, open(started.errors, "rb"):
        said = output.read()
    os.waitpid(started.pid, 0)
    return said


def test_symbolic_links_on_the_way_are_rebuilt(closed: Path) -> None:
    (closed / "real" / "tree").mkdir(parents=True)
    (closed / "real" / "tree" / "file").write_text("content")
    (closed / "link").symlink_to("real")
    (closed / "absolute").symlink_to(closed / "link")
    (closed / "other").symlink_to("/etc")
    path = closed / "absolute" / "tree"
    assert shown([Tree(str(path))], f"cat {path}/file; ls {closed}") == "contentabsolute\nlink\nreal\n"


def test_a_writable_tree_inside_a_read_only_one_stays_writable(closed: Path) -> None:
    tree, state = closed / "tree", closed / "tree" / "state"
    state.mkdir(parents=True)
    shutil.chown(state, "nobody", "nogroup")
    state.chmod(0o700)
    said = shown(
        [Tree(str(state), writable=True), Tree(str(tree))],
        f"touch {state}/new && echo written; touch {tree}/new 2>/dev/null || echo refused",
    )
    assert said == "written\nrefused\n"
    assert (state / "new").exists()
    assert not (tree / "new").exists()


def test_a_link_loop_and_a_missing_tree_are_view_errors(closed: Path) -> None:
    (closed / "a").symlink_to("b")
    (closed / "b").symlink_to("a")
    rights = resolve("nobody")
    with pytest.raises(ViewError, match="too many symbolic links"):
        plan([Tree(str(closed / "a"))], rights.user, rights.uid, rights.gid, rights.groups)
    with pytest.raises(ViewError, match="No such file"):
        plan([Tree(str(closed / "missing" / "x"))], rights.user, rights.uid, rights.gid, rights.groups)


def test_a_file_of_a_closed_mode_and_a_foreign_state_directory_are_view_errors(closed: Path) -> None:
    file, state = closed / "file", closed / "state"
    file.touch(mode=0o600)
    state.mkdir(mode=0o700)
    rights = resolve("nobody")
    with pytest.raises(ViewError, match=rf"{file} cannot be read by user 'nobody': run 'chmod o\+r {file}'"):
        plan([Tree(str(file))], rights.user, rights.uid, rights.gid, rights.groups)
    with pytest.raises(ViewError, match="is not open to its user 'nobody': 'sitectl setup'"):
        plan([Tree(str(state), writable=True)], rights.user, rights.uid, rights.gid, rights.groups)


def test_open_ways_need_no_view() -> None:
    rights = resolve("nobody")
    assert plan([Tree("/usr/bin"), Tree("/etc/passwd")], rights.user, rights.uid, rights.gid, rights.groups) is None


def test_where_mounting_is_not_allowed_the_directory_the_user_and_the_fix_are_named(closed: Path) -> None:
    """As in a container: root without CAP_SYS_ADMIN."""
    (closed / "code").mkdir()
    program = (
        "from framework.process import linux, privileges, view\n"
        "linux.drop_bounding(~linux.capability_mask(('sys_admin',)) & (1 << 41) - 1)\n"
        "mask = ~linux.capability_mask(('sys_admin',)) & int(privileges_of(), 16)\n"
        "linux.set_capabilities(mask, mask, 0)\n"
        "rights = privileges.resolve('nobody')\n"
        f"view.plan([view.Tree({str(closed / 'code')!r})], rights.user, rights.uid, rights.gid, rights.groups)\n"
    )
    program = (
        "from framework.process.proof import read_status\nprivileges_of = lambda: read_status()['CapPrm']\n" + program
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert f"ViewError: {closed} is closed to user 'nobody', who must read {closed / 'code'}" in last
    assert f"run 'chmod o+x {closed}', or move the code" in last


def test_a_view_does_not_hide_what_a_running_site_needs_from_its_run_directory(closed: Path) -> None:
    folder = closed / "site"
    folder.mkdir()
    site = RunningSite(folder)
    site.run_directory, site.state_directory = closed / "run", closed / "state"
    site.site_keys = {"run_directory": str(site.run_directory), "state_directory": str(site.state_directory)}
    site.add_backend("one")
    with running_site(site):
        assert site.text(f"/one/write?{site.state_directory}/one/note") == "1"
        assert site.text(f"/one/list?{site.run_directory}/urls") == "one.json"
        eventually("status", lambda: site.part("one")["state"] == "ready")
    assert not site.state_directory.exists()
