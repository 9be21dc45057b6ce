"""What the system says about a site: every finding names the place and the way out; nothing is imported or changed."""

from __future__ import annotations

import os
import pwd
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from ports import free_port

from framework.frontends.check import check_frontend
from framework.site import Problem, Site, load
from framework.site.access import ENTER, READ, WRITE, Account, find_account, first_closed, may
from framework.site.check import MAX_FILES_SHOWN, check_site
from framework.site.modules import find_module, global_names, neighbours
from framework.site.ports import holder_of, try_bind

SITE = """\
[site]
name = "unit"
listen = "127.0.0.1:{port}"
frontend_user = "daemon"
frontend_group = "daemon"

[[host]]
name = "console.localhost"
static = "static"
backends = ["status"]

[backend.status]
application = "pack.status:app"
{more}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "status.py").write_text("app = None\n")
    return tmp_path


def read(folder: Path, *, port: int | None = None, more: str = "", **overrides: str) -> Site:
    text = SITE.format(port=port or free_port(), more=more)
    (folder / "site.toml").write_text(text)
    overrides = {"run_directory": f"{folder}/run", "state_directory": f"{folder}/state"} | overrides
    return load(folder / "site.toml", overrides=overrides)


def findings(site: Site, key: str, level: str | None = None) -> list[Problem]:
    return [problem for problem in check_site(site) if problem.key == key and level in (None, problem.level)]


def test_a_good_site_has_no_errors_and_no_warnings(folder: Path) -> None:
    assert [str(problem) for problem in check_site(read(folder)) if problem.level != "note"] == []


def test_accounts_to_be_made_are_noted(folder: Path) -> None:
    (note,) = findings(read(folder), "backend.status.user")
    assert (note.level, note.line) == ("note", 12)
    assert "no user and group unit-status yet" in note.reason
    assert "setup creates it" in note.hint


def test_an_account_that_is_half_there_is_noted(folder: Path) -> None:
    site = read(folder, more='user = "bin"\ngroup = "no-such-group"')
    assert findings(site, "backend.status.user") == []
    (note,) = findings(site, "backend.status.group")
    assert (note.level, note.line) == ("note", 15)


def test_root_under_another_name_is_an_error() -> None:
    assert find_account("root", "root") == Account("root", 0, frozenset([0]))


def test_a_port_that_is_taken_is_an_error_with_its_holder(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (problem,) = findings(read(folder, port=port), "site.listen", "error")
        assert holder_of(port) == f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
    assert problem.line == 3
    assert f"127.0.0.1:{port} is taken by" in problem.reason
    assert f"(pid {os.getpid()})" in problem.reason


def test_the_port_of_the_running_site_is_not_an_error(folder: Path) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_UNIX) as control:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        site = read(folder, port=taken.getsockname()[1])
        site.run_directory.mkdir()
        control.bind(str(site.control_path))
        control.listen()
        (note,) = findings(site, "site.listen")
    assert (note.level, "runs already" in note.reason) == ("note", True)


def test_an_address_of_another_machine_is_an_error(folder: Path) -> None:
    (problem,) = findings(read(folder, listen="192.0.2.1:8080"), "site.listen", "error")
    assert "not an address of this machine" in problem.reason


def test_to_be_reached_from_the_network_is_noted(folder: Path) -> None:
    (note,) = findings(read(folder, listen=f"*:{free_port()}"), "site.listen")
    assert (note.level, "from the network" in note.reason) == ("note", True)
    assert findings(read(folder), "site.listen") == []


def test_a_probe_leaves_the_port_free() -> None:
    port = free_port()
    assert (try_bind("127.0.0.1", port), try_bind("127.0.0.1", port)) == (0, 0)


# -- the page for a back end that is down


def test_a_page_that_not_everybody_may_read_or_that_is_not_there_is_an_error(folder: Path) -> None:
    page = folder / "down.html"
    site = read(folder)
    site = replace(site, hosts=(replace(site.hosts[0], unavailable=page), *site.hosts[1:]))
    key = f"host[{site.hosts[0].name}].unavailable"
    (problem,) = findings(site, key, "error")
    assert "No such file" in problem.reason
    page.write_text("<p>down</p>")
    page.chmod(0o600)
    (problem,) = findings(site, key, "error")
    assert problem.hint == f"chmod o+r {page}"
    page.chmod(0o644)
    assert findings(site, key) == []


# -- the application


@pytest.mark.parametrize(
    ("application", "reason", "hint"),
    [
        ("pack.statsu:app", "no module pack.statsu", '"status"'),
        ("pakc.status:app", "no module pakc.status", ""),
        ("status:app", "no module status", ""),
        ("pack.status.app:app", "no module pack.status.app", ""),
    ],
)
def test_a_module_that_is_not_there_is_an_error(folder: Path, application: str, reason: str, hint: str) -> None:
    text = SITE.format(port=free_port(), more="").replace("pack.status:app", application)
    (folder / "site.toml").write_text(text)
    (problem,) = findings(load(folder), "backend.status.application")
    assert (problem.level, problem.line) == ("error", 13)
    assert reason in problem.reason
    assert hint in problem.hint


def test_an_object_that_is_not_there_is_a_warning_with_the_nearest_name(folder: Path) -> None:
    (folder / "pack" / "status.py").write_text("import os\n\ndef ap(request): ...\n")
    (problem,) = findings(read(folder), "backend.status.application", "warning")
    assert "has no 'app'" in problem.reason
    assert problem.hint == 'did you mean "ap"?'


@pytest.mark.parametrize(
    "source",
    [
        "app = 1",
        "app: int = 1",
        "def app(): ...",
        "class app: ...",
        "from elsewhere import something as app",
        "import app.deep",
        "from elsewhere import *",
        "def __getattr__(name): ...",
        "if True:\n    app = 1",
        "try:\n    import x as app\nexcept ImportError:\n    app = None",
        "for app in (): ...",
        "(x, [app]) = 1, [2]",
        "with open('x') as app: ...",
    ],
)
def test_an_object_is_found_however_it_is_bound(folder: Path, source: str) -> None:
    (folder / "pack" / "status.py").write_text(source)
    assert findings(read(folder), "backend.status.application", "warning") == []


def test_a_syntax_error_is_named_with_its_place(folder: Path) -> None:
    (folder / "pack" / "status.py").write_text("a = 1\nb = (\n")
    (problem,) = findings(read(folder), "backend.status.application", "error")
    assert f"{folder}/pack/status.py:2:" in problem.reason


@pytest.mark.parametrize("content", [b"\0", b"\xff", b"# coding: nonsense\n", b"(" * 5000, b"a = 1\n" * 300_000])
def test_odd_sources_are_findings_not_crashes(folder: Path, content: bytes) -> None:
    (folder / "pack" / "status.py").write_bytes(content)
    findings(read(folder), "backend.status.application")


def test_nothing_of_an_application_is_run(folder: Path) -> None:
    for name in ("__init__", "status"):
        (folder / "pack" / f"{name}.py").write_text(
            f"import pathlib\npathlib.Path({str(folder)!r}, 'ran').touch()\napp = 1\n"
        )
    check_site(read(folder))
    assert not (folder / "ran").exists()
    assert not list(folder.rglob("__pycache__"))


def test_modules_are_looked_for_like_python_does(folder: Path) -> None:
    (folder / "space" / "inner").mkdir(parents=True)
    (folder / "space" / "inner" / "module.py").touch()
    assert find_module("space.inner.module", [str(folder)]) is not None
    assert find_module("json.decoder", []) is not None
    assert find_module("sys", []) is not None
    assert find_module("pack.status.more", [str(folder)]) is None
    assert neighbours("pack.x", [folder]) == {"status"}
    assert "pack" in neighbours("x", [folder])


def test_names_of_inner_scopes_are_not_global_names() -> None:
    import ast

    assert global_names(ast.parse("def f():\n    inner = 1\nclass C:\n    member = 1\n")) == {"f", "C"}


# -- folders and files


def frontend() -> Account:
    return find_account("daemon", "daemon")


def test_a_static_folder_that_the_front_end_cannot_read_is_an_error(folder: Path) -> None:
    (folder / "static").chmod(0o700)
    (problem,) = findings(read(folder), "host[console.localhost].static", "error")
    assert problem.line == 9
    assert f"daemon cannot read the static folder {folder}/static" in problem.reason
    assert problem.hint == f"chmod o+rx {folder}/static"


def test_static_files_that_the_front_end_cannot_read_are_warnings(folder: Path) -> None:
    for number in range(MAX_FILES_SHOWN + 3):
        path = folder / "static" / f"{number}.css"
        path.touch()
        path.chmod(0o600)
    warnings = findings(read(folder), "host[console.localhost].static", "warning")
    assert len(warnings) == MAX_FILES_SHOWN + 1
    assert "cannot read 3 more files" in warnings[-1].reason


def test_a_link_out_of_the_static_folder_is_a_warning(folder: Path) -> None:
    (folder / "static" / "passwd").symlink_to("/etc/passwd")
    (problem,) = findings(read(folder), "host[console.localhost].static", "warning")
    assert "symbolic link" in problem.reason


def test_many_links_are_summed_up(folder: Path) -> None:
    for number in range(MAX_FILES_SHOWN + 2):
        (folder / "static" / f"{number}").symlink_to("/etc/passwd")
    warnings = findings(read(folder), "host[console.localhost].static", "warning")
    assert len(warnings) == MAX_FILES_SHOWN + 1
    assert "2 more symbolic links" in warnings[-1].reason


def test_an_address_from_the_command_line_is_not_blamed_on_the_file(folder: Path) -> None:
    (problem,) = findings(read(folder, listen="192.0.2.1:8080"), "site.listen", "error")
    assert (problem.file, problem.line) == ("", None)


def test_a_closed_folder_above_is_a_note_that_says_what_run_does(folder: Path) -> None:
    folder.chmod(0o700)
    notes = findings(read(folder), "host[console.localhost].static", "note")
    assert len(notes) == 1
    assert "is closed to daemon" in notes[0].reason
    assert "sitectl run as root" in notes[0].hint


def test_what_everybody_may_write_is_a_warning(folder: Path) -> None:
    site = read(folder)
    site.file.chmod(0o666)
    folder.chmod(0o777)
    reasons = [problem.reason for problem in check_site(site) if problem.level == "warning"]
    assert f"{site.file} can be written by everybody" in reasons
    assert f"{folder} can be written by everybody" in reasons
    assert any("run could be replaced" in reason for reason in reasons)


def test_code_that_its_back_end_can_write_is_a_warning(folder: Path) -> None:
    (folder / "pack" / "status.py").chmod(0o666)
    (problem,) = findings(read(folder), "backend.status.path", "warning")
    assert "can change its code" in problem.reason


def test_a_state_directory_of_somebody_else_is_an_error(folder: Path) -> None:
    site = read(folder, more='user = "bin"\ngroup = "bin"')
    site.backends["status"].state_directory.mkdir(parents=True)
    (problem,) = findings(site, "backend.status.state_directory", "error")
    assert "does not belong to bin" in problem.reason


def test_a_state_directory_that_others_can_enter_is_a_warning(folder: Path) -> None:
    site = read(folder)
    site.backends["status"].state_directory.mkdir(parents=True, mode=0o750)
    (problem,) = findings(site, "backend.status.state_directory", "warning")
    assert "mode 0750" in problem.reason


@pytest.mark.parametrize("key", ["run_directory", "state_directory"])
def test_a_file_in_the_place_of_a_folder_is_an_error(folder: Path, key: str) -> None:
    (folder / "taken").touch()
    site = read(folder, **{key: f"{folder}/taken"})
    assert findings(site, f"site.{key}", "error")


@pytest.mark.parametrize(
    ("mode", "account", "wanted", "answer"),
    [
        (0o600, "owner", READ, True),
        (0o600, "owner", ENTER, False),
        (0o060, "owner", READ, False),
        (0o060, "member", READ | WRITE, True),
        (0o006, "member", READ, False),
        (0o004, "other", READ, True),
        (0o004, "other", READ | WRITE, False),
        (0o770, "other", READ, False),
        (0o000, "root", READ | WRITE | ENTER, True),
    ],
)
def test_rights_are_those_of_the_first_class_that_fits(
    tmp_path: Path, mode: int, account: str, wanted: int, answer: bool
) -> None:
    file = tmp_path / "file"
    file.touch()
    owner, group = file.stat().st_uid, file.stat().st_gid
    file.chmod(mode)
    accounts = {
        "owner": Account("owner", owner or 4_000_000, frozenset([group])),
        "member": Account("member", 4_000_001, frozenset([group])),
        "other": Account("other", 4_000_002, frozenset([group + 1])),
        "root": Account("root", 0, frozenset([0])),
    }
    if account == "owner" and owner == 0:
        os.chown(file, 4_000_000, -1)
    assert may(accounts[account], file, wanted) is answer


def test_the_first_closed_folder_is_the_outermost(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b").chmod(0o700)
    (tmp_path / "a").chmod(0o700)
    tmp_path.chmod(0o755)
    closed = first_closed(frontend(), tmp_path / "a" / "b" / "file")
    assert closed is not None
    assert closed in (tmp_path / "a", *tmp_path.parents)
    assert first_closed(frontend(), Path("/etc/passwd")) is None


# -- the front end


def fake_lighttpd(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "bin").mkdir()
    program = folder / "bin" / "lighttpd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))


def test_an_old_front_end_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_lighttpd(folder, monkeypatch, 'test "$1" = -v && echo "lighttpd/1.4.53 (ssl)"; exit 0')
    (problem,) = check_frontend(read(folder))
    assert (problem.level, problem.reason) == ("warning", "lighttpd is 1.4.53, older than 1.4.69")


def test_a_refused_configuration_is_an_error_with_the_servers_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'test "$1" = -v && echo "lighttpd/1.4.70" && exit 0\necho "2026-01-02 03:04:05: (x.c.1) nonsense" >&2; exit 1'
    )
    fake_lighttpd(folder, monkeypatch, script)
    (problem,) = check_frontend(read(folder))
    assert (problem.level, problem.reason) == ("error", "lighttpd -tt: (x.c.1) nonsense")


def test_a_front_end_that_hangs_up_without_a_word_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_lighttpd(folder, monkeypatch, "exit 3")
    (problem,) = check_frontend(read(folder))
    assert problem.reason == "lighttpd -tt: exit status 3"


def test_members_of_the_front_ends_group_are_warned_of(folder: Path) -> None:
    import grp

    populated = [group for group in grp.getgrall() if group.gr_mem and group.gr_mem[0] != "root"]
    if not populated:
        assert all(not group.gr_mem or group.gr_mem[0] == "root" for group in grp.getgrall())
        return
    group = populated[0]
    user = pwd.getpwnam(group.gr_mem[0]).pw_name
    site = read(folder, more=f'user = "{user}"', frontend_group=group.gr_name)
    assert any("is a member of" in problem.reason for problem in findings(site, "backend.status.user", "warning"))


def test_a_log_without_a_folder_and_a_group_that_is_not_there_are_told(folder: Path) -> None:
    site = read(folder, log=f"{folder}/none/x.log", control_group="zzz-none")
    (log,) = findings(site, "site.log", "error")
    assert log.reason == f"there is no folder {folder}/none"
    (group,) = findings(site, "site.control_group", "error")
    assert "groupadd --system zzz-none" in group.hint
    open_to_all = folder / "all"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (warning,) = findings(read(folder, log=f"{open_to_all}/x.log"), "site.log")
    assert warning.level == "warning"
    assert findings(read(folder, log=f"{folder}/x.log", control_group="daemon2"), "site.log") == []
