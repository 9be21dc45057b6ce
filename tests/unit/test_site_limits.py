"""The keys of a back end that say when it has had enough: their units, and every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.site import Site, SiteError, load

SMALLEST = """\
[site]
name = "appliance"

[[host]]
name = "console.localhost"
backends = ["status"]

[backend.status]
application = "appliance.status:app"
"""


def read(folder: Path, line: str) -> Site:
    file = folder / "site.toml"
    file.write_text(f"{SMALLEST}{line}\n")
    return load(file)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("request_timeout = 30", "request_timeout", 30),
        ('request_timeout = "30 s"', "request_timeout", 30),
        ('request_timeout = "2000ms"', "request_timeout", 2),
        ('request_timeout = "5 min"', "request_timeout", 300),
        ("request_timeout = 0", "request_timeout", 0),
        ('slow_request = "500 ms"', "slow_request", 500),
        ("slow_request = 2", "slow_request", 2000),
        ('max_memory = "64 MiB"', "max_memory", 64 << 20),
        ("max_memory = 0", "max_memory", 0),
        ("max_requests = 1000", "max_requests", 1000),
        ("", "max_requests", 0),
        ("", "request_timeout", 0),
        ("", "slow_request", 0),
        ("", "max_memory", 0),
    ],
)
def test_a_limit_is_read_with_its_unit(tmp_path: Path, line: str, key: str, value: int) -> None:
    assert getattr(read(tmp_path, line).backends["status"], key) == value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('request_timeout = "1500 ms"', "is not a whole number of seconds"),
        ('request_timeout = "30 seconds"', "'30 seconds' is not a time"),
        ("request_timeout = -1", "-1 is out of range"),
        ('request_timeout = "25 h"', "'25 h' is out of range"),
        ("request_timeout = 1.5", "1.5 is not a whole number or text in quotes"),
        ("slow_request = true", "true is not a whole number or text in quotes"),
        ('slow_request = "fast"', "'fast' is not a time"),
        ('max_memory = "64"', "64 bytes is out of range"),
        ('max_memory = "64 MiBs"', "'64 MiBs' is not a size"),
        ("max_requests = -1", "-1 is out of range"),
        ('max_requests = "many"', "'many' is not a whole number"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, line)
    (problem,) = caught.value.problems
    assert problem.line == 10
    assert problem.key == f"backend.status.{line.split()[0]}"
    assert reason in problem.reason


def test_a_slow_request_that_never_comes_is_warned_of(tmp_path: Path) -> None:
    site = read(tmp_path, 'slow_request = "5 s"\nrequest_timeout = 5')
    (remark,) = site.remarks
    assert (remark.level, remark.line) == ("warning", 10)
    assert remark.reason.startswith("has no effect: request_timeout ends a call before")


def test_umask_limits_and_credentials_are_read(tmp_path: Path) -> None:
    lines = 'umask = "027"\nlimits = { open_files = 256, core = "1 MiB" }\ncredentials = { token = "secrets/token" }'
    backend = read(tmp_path, lines).backends["status"]
    assert backend.umask == 0o027
    assert backend.limits == {"open_files": 256, "core": 1 << 20}
    assert backend.credentials == {"token": tmp_path / "secrets" / "token"}
    usual = read(tmp_path, "").backends["status"]
    assert (usual.umask, usual.limits, usual.credentials) == (0o077, {}, {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('umask = "077x"', "is not a umask"),
        ("umask = 27", "27 is not text in quotes"),
        ('umask = "000"', "would let everybody write"),
        ('umask = "777"', "takes rights from the back end itself"),
        ("limits = 5", "5 is not a table"),
        ("limits = { files = 5 }", "there is no limit 'files'"),
        ("limits = { open_files = 3 }", "3 open files are too few"),
        ('limits = { open_files = "64 MiB" }', "open_files = '64 MiB' is out of range or of another kind"),
        ('limits = { core = "much" }', "'much' is not a size"),
        ("limits = { cpu = -1 }", "cpu = -1 is out of range"),
        ("limits = { cpu = true }", "cpu = true is out of range"),
        ('credentials = { "../x" = "y" }', "'../x' is not the name of a credential"),
        ('credentials = { ".x" = "y" }', "'.x' is not the name of a credential"),
        ("credentials = { x = 1 }", "the value 1 of x is not text in quotes"),
        ('credentials = { x = "" }', "a path cannot be empty"),
        ('environment = { CREDENTIALS_DIRECTORY = "/x" }', "CREDENTIALS_DIRECTORY belongs to the machinery"),
    ],
)
def test_a_wrong_umask_limit_or_credential_is_refused_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, line)
    (problem,) = caught.value.problems
    assert problem.line == 10
    assert reason in problem.reason


def test_processes_on_demand(tmp_path: Path) -> None:
    backend = read(tmp_path, 'processes = "ondemand"\nidle_exit = "5 min"').backends["status"]
    assert (backend.processes, backend.idle_exit) == ("ondemand", 300)
    usual = read(tmp_path, "").backends["status"]
    assert (usual.processes, usual.idle_exit) == ("static", 60)
    (remark,) = read(tmp_path, "idle_exit = 5").remarks
    assert (remark.level, remark.line) == ("warning", 10)
    (remark,) = read(tmp_path, 'processes = "ondemand"\nmin_workers = 2').remarks
    assert (remark.level, remark.key) == ("warning", "backend.status.min_workers")


def test_a_memory_budget_that_cannot_suffice_is_warned_of(tmp_path: Path) -> None:
    def remarks(size: str, line: str) -> list[str]:
        folder = tmp_path / size
        folder.mkdir()
        text = SMALLEST.replace("[site]\n", f'[site]\nmemory = "{size}"\n') + line
        (folder / "site.toml").write_text(text)
        return [remark.key for remark in load(folder / "site.toml").remarks if remark.level == "warning"]

    assert remarks("10 MiB", "\nworkers = 4") == ["site.memory"]
    assert remarks("64 MiB", "\nworkers = 4") == []
    assert remarks("8 MiB", '\nprocesses = "ondemand"') == []


def test_a_dynamic_number_of_processes(tmp_path: Path) -> None:
    backend = read(tmp_path, 'processes = "dynamic"\nworkers = 4\nmin_workers = 2').backends["status"]
    assert (backend.processes, backend.workers, backend.min_workers, backend.idle_exit) == ("dynamic", 4, 2, 60)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('processes = "some"', "'some' is not a way to run processes"),
        ('processes = "dynamic"', '"dynamic" needs workers = 2 or more'),
        ('processes = "dynamic"\nworkers = 4\nmin_workers = 4', "4 is not less than workers = 4"),
        ("processes = 2", "2 is not text in quotes"),
        ('processes = "ondemand"\nidle_exit = 0', "0 would end it between two requests"),
    ],
)
def test_wrong_processes_are_refused(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, line)
    assert reason in caught.value.problems[0].reason
