"""sitectl on the command line: help that teaches, exit statuses, no traceback for a user's mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from framework.cli import COMMANDS, main
from framework.cli.urls import as_table, rows_of
from framework.site import load

SITE = """\
[site]
name = "cli"

[[host]]
name = "console.localhost"
static = "static"
backends = ["status", "notes"]

[[host]]
name = "wall.localhost"
default = true
backends = { status = "/" }

[backend.status]
application = "status:app"

[backend.notes]
application = "notes:app"
user = "keeper"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "site.toml").write_text(SITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sitectl(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "framework.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


# -- the program


def test_help_lists_each_command_on_one_line_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "exit status: 0 done, 1 a problem was found, 2 the command line is wrong" in text
    for name in COMMANDS:
        assert sum(line.startswith(f"  {name} ") for line in text.splitlines()) == 1, name


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    own = capsys.readouterr().out
    assert own.startswith(f"usage: sitectl {name}")
    assert "sitectl" in own.split("\n\n", 1)[1]
    assert main(["help", name]) == 0
    assert capsys.readouterr().out == own


def test_without_a_command_the_help_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "commands:" in captured.err


def test_the_version_says_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sitectl ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "unknown command 'chek'; did you mean 'check'?"),
        (["nonsense"], "unknown command 'nonsense'"),
        (["site.toml"], "the command comes first: sitectl check site.toml"),
        (["--nonsense"], "unrecognized option --nonsense"),
        (["check", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["config"], "required"),
        (["config", "nginks"], "invalid choice"),
    ],
)
def test_a_wrong_command_line_is_two_lines_and_status_2(
    folder: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 2
    assert "--help" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("command", [["config", "lighttpd"], ["config", "nginx"], ["urls"]])
def test_a_wrong_site_file_is_listed_and_status_1(
    folder: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site.toml").write_text(SITE.replace("user =", "usr =").replace("default =", "defalt ="))
    assert main(command) == 1
    captured = capsys.readouterr()
    assert 'site.toml:11: error: host[wall.localhost].defalt: unknown key; did you mean "default"?' in captured.err
    assert 'site.toml:19: error: backend.notes.usr: unknown key; did you mean "user"?' in captured.err
    assert "2 errors; nothing was started or changed" in captured.err
    assert captured.out == ""


def test_there_is_no_traceback_for_a_file_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "lighttpd", "nowhere.toml"]) == 1
    assert "nowhere.toml: error: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("server", ["lighttpd", "nginx"])
def test_it_runs_as_a_program_of_its_own(folder: Path, server: str) -> None:
    done = sitectl("config", server, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f'# {server} for the site "cli"')


def test_a_reader_that_leaves_early_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m framework.cli config lighttpd | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_only_the_chosen_command_is_imported() -> None:
    code = (
        "import sys; from framework.cli import main; main(['--version']); "
        "print(sorted(name for name in sys.modules "
        "if name.startswith(('framework.cli.', 'framework.process')) and not name.endswith('.parser')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- check


def test_check_of_the_file_alone_says_what_the_site_consists_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--file-only"]) == 0
    assert capsys.readouterr().out == "site.toml: no errors: 2 hosts, 2 back ends, listening on 127.0.0.1:8080\n"


def test_check_finds_what_the_system_lacks_and_what_the_file_has_wrong(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--listen", "192.0.2.1:80"]) == 1
    text = capsys.readouterr().out
    assert "backend.status.application: there is no module status" in text
    assert "192.0.2.1 is not an address of this machine" in text or "needs root" in text
    assert "errors" in text.splitlines()[-1]


def test_check_of_a_wrong_file_lists_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "site.toml").write_text("[site]\nnaem = 1\n")
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[2] for line in lines[:-1]] == ["site.name", "site.naem", "host"]
    assert lines[-1] == "site.toml: 3 errors"


def test_check_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--file-only"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": []}
    (folder / "site.toml").write_text("[site]\nnaem = 1\n")
    assert main(["check", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["problems"][1] == {
        "level": "error",
        "file": "site.toml",
        "line": 2,
        "key": "site.naem",
        "reason": "unknown key",
        "hint": 'did you mean "name"?',
    }


# -- urls

TABLES = {
    "status": [
        {"pattern": "^/$", "handler": "status.overview", "name": "overview"},
        {"pattern": r"^/(?P<id>\d+)$", "handler": "status.Disk", "name": None},
    ],
    "notes": [],
}


def test_urls_are_told_host_by_host_with_the_user_behind_them(folder: Path) -> None:
    rows = list(rows_of(load(folder), TABLES))
    assert [(row["host"], row["prefix"] + row["pattern"], row["backend"], row["user"]) for row in rows] == [
        ("console.localhost", "/$", None, "www-data"),
        ("console.localhost", "/static/", None, "www-data"),
        ("console.localhost", "/status^/$", "status", "cli-status"),
        ("console.localhost", r"/status^/(?P<id>\d+)$", "status", "cli-status"),
        ("console.localhost", "/notes/", "notes", "keeper"),
        ("wall.localhost", "^/$", "status", "cli-status"),
        ("wall.localhost", r"^/(?P<id>\d+)$", "status", "cli-status"),
    ]
    assert rows[0]["handler"] == "redirect to /status/"
    assert rows[4]["handler"] == "notes:app (WSGI)"


def test_an_application_that_cannot_be_imported_keeps_its_place(folder: Path) -> None:
    rows = list(rows_of(load(folder), {"notes": []}))
    assert [row["handler"] for row in rows if row["backend"] == "status"] == ["(cannot be imported)"] * 2


def test_a_table_is_aligned() -> None:
    text = as_table(["HOST", "URL"], [["a", "/long"], ["longer", "/"]])
    assert text == "HOST    URL\na       /long\nlonger  /"
