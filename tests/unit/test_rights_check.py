"""`sitectl check` of what back ends are given: all that a start would refuse, at once, each with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.process.check import check_rights
from framework.site import Problem, load

SITE = """\
[site]
name = "unit"

[[host]]
name = "console.localhost"
backends = ["status", "other"]

[backend.status]
application = "status:app"
path = []
{keys}
[backend.other]
application = "other:app"
path = []
"""


def problems(folder: Path, keys: str) -> list[Problem]:
    file = folder / "site.toml"
    file.write_text(SITE.format(keys=keys))
    found = check_rights(load(file))
    assert all(problem.line is not None for problem in found)
    return found


def told(folder: Path, keys: str, level: str = "error") -> list[str]:
    found = [problem for problem in problems(folder, keys) if problem.level == level]
    return [f"{problem.line}: {problem.key}: {problem.reason}; {problem.hint}" for problem in found]


def test_what_is_right_is_not_spoken_of(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("secret")
    secret.chmod(0o600)
    keys = 'capabilities = ["net_raw"]\nsystem_calls = ["ipc", "ptrace"]\nread = ["/proc"]\nexecute = ["/bin/sh"]\n'
    assert told(tmp_path, keys + f'credentials = {{ token = "{secret}" }}\n') == []


def test_all_at_once_each_in_its_line(tmp_path: Path) -> None:
    keys = 'capabilities = ["net_row"]\nsystem_calls = ["ipcs", "zzzz"]\nread = ["/nowhere"]\n'
    keys += 'write = ["/proc/version/x"]\n'
    said = told(tmp_path, keys + 'execute = ["/nowhere"]\ncredentials = { token = "/nowhere", other = "/" }\n')
    assert said[0] == "11: backend.status.capabilities: there is no capability 'net_row'; did you mean \"net_raw\"?"
    assert said[1].startswith("12: backend.status.system_calls: 'ipcs' is neither a system call nor a set")
    assert said[1].endswith('; did you mean "ipc"?')
    assert "sets: attributes, debug" in said[2]
    assert [line.partition(";")[0] for line in said[3:]] == [
        "13: backend.status.read: /nowhere does not exist",
        "14: backend.status.write: /proc/version/x does not exist",
        "15: backend.status.execute: /nowhere does not exist",
        "16: backend.status.credentials: token: /nowhere: No such file or directory",
        "16: backend.status.credentials: other: / is not a file",
    ]


def test_a_secret_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("secret")
    secret.chmod(0o644)
    keys = 'credentials = { token = "token" }\n'
    assert told(tmp_path, keys) == []
    said = told(tmp_path, keys, "warning")
    assert said == [f"11: backend.status.credentials: token: everybody can read {secret}; chmod o-r {secret}"]
    secret.write_bytes(bytes((1 << 20) + 1))
    assert "larger than 1 MiB" in told(tmp_path, keys)[0]


def test_a_private_tmp_that_would_hide_its_own_folder_is_told(tmp_path: Path) -> None:
    said = told(tmp_path, 'private_tmp = true\nstate_directory = "/tmp/state"\n')
    assert said == [
        "11: backend.status.private_tmp: would hide /tmp/state; "
        "keep code and data outside /tmp and /var/tmp, or leave private_tmp out"
    ]


def test_without_a_sandbox_its_keys_mean_nothing(tmp_path: Path) -> None:
    assert told(tmp_path, 'sandbox = false\nread = ["/nowhere"]\nsystem_calls = ["zzzz"]\n') == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another user looks")
def test_what_the_caller_may_not_see_is_not_said_to_be_missing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    keys = f'read = ["{closed}/x"]\ncredentials = {{ token = "{closed}/token" }}\n'
    assert len(told(tmp_path, keys)) == 2
    site = load(tmp_path / "site.toml")
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            os.setresuid(65534, 65534, 65534)
            status = len(check_rights(site))
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
