"""The run directory, its lock and sockets; the ways that a view rebuilds; the record of setup. As any user."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.process.frontend import FrontendError, accepts, check_port_is_free
from framework.process.install import InstallError, Record
from framework.process.layout import for_caller
from framework.process.parts import PartsError, find_program, interpreter_variables
from framework.process.privileges import PrivilegeError, caller, environment, resolve
from framework.process.proof import compare, read_status
from framework.process.runfiles import AlreadyRunning, ChildRecord, RunDirectory, RunError, processes, write_file
from framework.process.view import Tree, ViewError, _follow, _topmost, _without_nested
from framework.site import Site, load
from framework.site.schema import Listen

SITE = """\
[site]
name = "example"
run_directory = "{folder}/run"
state_directory = "{folder}/state"
[[host]]
name = "a.localhost"
backends = ["web"]
[backend.web]
application = "web:app"
user = "web-user"
group = "web-group"
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    file = tmp_path / "site.toml"
    file.write_text(SITE.format(folder=tmp_path))
    return load(file)


@pytest.fixture
def rights() -> object:
    return caller()


# ---- the run directory


def test_one_supervisor_at_a_time(site: Site) -> None:
    first, second = RunDirectory(site), RunDirectory(site)
    first.take()
    with pytest.raises(
        AlreadyRunning, match=rf"site 'example' runs already \(pid {os.getpid()}\): 'sitectl stop' ends it"
    ):
        second.take()
    first.clean()
    assert not site.run_directory.exists()
    second.take()
    second.clean()


def test_a_lock_file_without_a_holder_is_taken_over(site: Site) -> None:
    site.run_directory.mkdir()
    site.pid_path.write_text("1\n")
    directory = RunDirectory(site)
    directory.take()
    assert site.pid_path.read_text() == f"{os.getpid()}\n"
    directory.clean()
    assert list(site.run_directory.iterdir()) == []


def test_a_socket_takes_the_place_of_a_stale_one_and_is_never_open_to_others(site: Site) -> None:
    directory = RunDirectory(site)
    directory.take()
    directory.prepare(caller())
    path = site.socket_path("web")
    for _ in range(2):
        listener = directory.bind("web", None)
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        listener.close()
    assert [each.name for each in site.sockets_directory.iterdir()] == ["web.sock"]
    directory.clean()
    assert not site.run_directory.exists()


def test_a_socket_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 90)
    folder.mkdir()
    file = folder / "site.toml"
    file.write_text(SITE.format(folder=folder))
    try:
        directory = RunDirectory(load(file))
    except Exception as error:
        assert "107" in str(error) or "long" in str(error)  # noqa: PT017 - the loader may be the one to refuse it
        return
    directory.take()
    directory.prepare(caller())
    with pytest.raises(RunError, match="a socket's path may have 107 bytes: choose a shorter run_directory"):
        directory.bind("web", None)
    directory.clean()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_not_a_socket_is_never_replaced(site: Site, kind: str) -> None:
    directory = RunDirectory(site)
    directory.take()
    directory.prepare(caller())
    path = site.socket_path("web")
    target = site.run_directory / "target"
    target.write_text("precious")
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(target)
    with pytest.raises(RunError, match="is there and is not a socket: remove it"):
        directory.bind("web", None)
    assert target.read_text() == "precious"
    directory.clean()


def test_a_run_directory_open_to_others_or_a_link_is_refused(site: Site, tmp_path: Path) -> None:
    site.run_directory.mkdir()
    site.run_directory.chmod(0o775)
    with pytest.raises(RunError, match="that only its owner"):
        RunDirectory(site).take()
    site.run_directory.rmdir()
    site.run_directory.symlink_to(tmp_path)
    with pytest.raises(RunError, match="that only its owner"):
        RunDirectory(site).take()


def test_a_reader_sees_a_whole_file_or_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    write_file(path, b"old")
    with open(path, "rb") as reader:
        write_file(path, b"new content", 0o600)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["table.json"]


@pytest.mark.parametrize("wait", [os.symlink, os.link, lambda _, place: os.mkfifo(place)])
def test_a_file_is_not_written_through_what_lies_in_wait(tmp_path: Path, wait: Callable[[Path, Path], None]) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    wait(victim, tmp_path / f".table.{os.getpid()}")
    write_file(tmp_path / "table", b"x")
    assert victim.read_text() == "precious"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["table", "victim"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path / "table", b"x")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_file(tmp_path / "large", b"x" * 8192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [each.name for each in tmp_path.iterdir()] == ["table"]


def test_only_what_a_killed_supervisor_started_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "children"
    ours = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    other = subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    try:
        record = ChildRecord(path)
        record.add(ours.pid, os.getuid())
        record.add(other.pid, os.getuid())
        saved = json.loads(path.read_text())
        saved[1][1] += 1  # as if the number had been another, earlier session's
        path.write_text(json.dumps(saved))
        assert ChildRecord(path).end_leftovers() == [ours.pid]
        assert ours.wait(30) == -9
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the bounding set is dropped")
def test_what_has_fled_is_known_by_its_marks_with_declared_capabilities_too() -> None:
    from framework.process import linux
    from framework.process.strays import bears_marks

    kept = linux.capability_mask(("net_raw",))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            linux.drop_bounding(kept)
            linux.no_new_privileges()
            os.write(writer, b"done")
            signal.pause()
        finally:
            os._exit(1)
    try:
        assert os.read(reader, 4) == b"done"
        assert bears_marks(child, kept)
        assert not bears_marks(child)
        assert not bears_marks(os.getpid(), kept)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[[1,2]]", '[["a","b","c"]]', "\x00"])
def test_a_spoiled_record_ends_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "children").write_text(content)
    assert ChildRecord(tmp_path / "children").end_leftovers() == []


def test_processes_knows_this_one() -> None:
    found = {pid: (session, uid) for pid, session, _, uid in processes()}
    assert found[os.getpid()] == (os.getsid(0), os.getuid())


# ---- views


def test_a_way_is_followed_as_the_kernel_would(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "a").symlink_to("real/../b")
    (tmp_path / "b").symlink_to(tmp_path / "real")
    way = _follow(Tree(f"{tmp_path}/a/deep"))
    assert way.end == f"{tmp_path}/real/deep"
    assert way.links == [(f"{tmp_path}/a", "real/../b"), (f"{tmp_path}/b", f"{tmp_path}/real")]
    assert set(way.directories) >= {"/", str(tmp_path), f"{tmp_path}/real"}


PARTS = st.sampled_from(["a", "b", "..", ".", "link", "up", "loop"])


@given(st.lists(PARTS, max_size=7))
def test_any_way_ends_where_the_kernel_ends_or_is_a_view_error(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    root = tmp_path_factory.getbasetemp() / "ways"
    if not root.exists():
        (root / "a" / "b" / "a").mkdir(parents=True)
        (root / "b").mkdir()
        (root / "link").symlink_to("a/b")
        (root / "a" / "up").symlink_to("..")
        (root / "a" / "link").symlink_to(root / "b")
        (root / "loop").symlink_to("loop")
    path = "/".join((str(root), *parts))
    try:
        end = _follow(Tree(path)).end
    except ViewError:
        assert not os.path.exists(path)
    else:
        assert end == os.path.realpath(path)


def test_covers_are_the_topmost_and_trees_are_not_bound_twice() -> None:
    assert _topmost(["/root/x", "/root", "/rootless", "/home/a"]) == ("/home/a", "/root", "/rootless")
    trees = [Tree("/x/b/c"), Tree("/x/b"), Tree("/x/bc"), Tree("/x/b/state", writable=True)]
    assert _without_nested(trees) == (Tree("/x/b"), Tree("/x/b/state", writable=True), Tree("/x/bc"))


# ---- rights


def test_this_process_is_as_it_is() -> None:
    rights = caller().to_spec() | {"capabilities": int(read_status()["CapEff"], 16)}
    assert [each for each in compare(rights, read_status()) if each.startswith(("Uid", "Gid", "Groups"))] == []


STATUS = {"Uid": "5\t5\t5\t5", "Gid": "6\t6\t6\t6", "Groups": "6 7 ", "NoNewPrivs": "1"}
STATUS |= dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0000000000000000")
DECLARED = {"uid": 5, "gid": 6, "groups": [6, 7], "capabilities": 0, "switch": True}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"Uid": "5\t0\t5\t5"}, ["Uid is {0, 5}, declared {5}"]),
        ({"Gid": "6\t6\t0\t6"}, ["Gid is {0, 6}, declared {6}"]),
        ({"Groups": "6 7 27 "}, ["Groups is {27, 7}, declared {7}"]),
        ({"CapBnd": "0000000000000400"}, ["CapBnd is 0x400, declared 0x0"]),
        ({"CapAmb": "0000000000000001"}, ["CapAmb is 0x1, declared 0x0"]),
        ({"NoNewPrivs": "0"}, ["NoNewPrivs is 0, declared 1"]),
    ],
)
def test_every_difference_from_what_is_declared_is_found(change: dict[str, str], found: list[str]) -> None:
    assert compare(DECLARED, STATUS | change) == found


def test_unknown_names_root_and_unknown_capabilities_are_refused() -> None:
    with pytest.raises(PrivilegeError, match="user 'no-such-user' does not exist: 'sitectl setup'"):
        resolve("no-such-user")
    with pytest.raises(PrivilegeError, match="group 'no-such-group' does not exist"):
        resolve("nobody", "no-such-group")
    with pytest.raises(PrivilegeError, match="'root' is root"):
        resolve("root")
    with pytest.raises(PrivilegeError, match="'nobody' is root"):
        resolve("nobody", "root")
    with pytest.raises(PrivilegeError, match="unknown capability 'net_bind'"):
        resolve("nobody", capabilities=("net_bind",))
    assert resolve("nobody", capabilities=("CAP_NET_BIND_SERVICE",)).capabilities == 0x400


def test_the_environment_of_a_child_is_listed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "x")
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    monkeypatch.setenv("TZ", "Europe/Vienna")
    monkeypatch.delenv("FASTCORE_PURE", raising=False)
    monkeypatch.delenv("FASTCORE_REQUIRE_COMPILED", raising=False)
    found = environment(resolve("nobody"), home="/state", extra={"LANG": "de_AT.UTF-8", "MORE": "1"})
    assert set(found) == {"PATH", "LANG", "HOME", "USER", "LOGNAME", "TZ", "MORE"}
    assert (found["HOME"], found["USER"], found["LANG"]) == ("/state", "nobody", "de_AT.UTF-8")


def test_a_child_finds_this_very_package() -> None:
    code = "import framework; print(framework.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", code],
        env=interpreter_variables(),
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    import framework

    assert done.stdout.strip() == framework.__file__


# ---- programs, ports, records


def test_a_program_that_is_not_installed_is_named_with_the_way_out() -> None:
    assert find_program("sh").endswith("/sh")
    with pytest.raises(PartsError, match="nosuchd is not installed: 'apt-get install nosuchd', or use 'sitectl dev'"):
        find_program("nosuchd")


def test_a_taken_port_is_told_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        listen = Listen("127.0.0.1", other.getsockname()[1])
        assert not accepts(listen)
        other.listen()
        assert accepts(listen)
        assert accepts(Listen("0.0.0.0", listen.port))
        with pytest.raises(FrontendError, match=rf"cannot listen on {listen}: Address already in use; another program"):
            check_port_is_free(listen)
    check_port_is_free(listen)


def test_the_record_of_setup_comes_back_as_it_was_saved(site: Site) -> None:
    record = Record.of(site)
    assert not record
    record.users["a"] = 5
    record.save()
    assert not record.path.exists()  # there is no state directory yet
    site.state_directory.mkdir()
    record.directories.append("/x")
    record.save()
    assert Record.of(site) == record
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600


@given(st.binary(max_size=60))
def test_a_spoiled_record_of_setup_is_an_install_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "record"
    (folder / "state").mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_text(SITE.format(folder=folder))
    (folder / "state" / "setup.json").write_bytes(content)
    with pytest.raises(InstallError, match=r"setup\.json cannot be read"):
        Record.of(load(folder / "site.toml"))


def test_root_uses_the_directories_of_the_site_file(site: Site) -> None:
    if os.geteuid() == 0:
        assert for_caller(site) is site
    else:
        assert for_caller(site).run_directory == site.run_directory
