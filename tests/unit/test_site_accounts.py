"""What a back end's account has beside its name: supplementary groups, and the folder where it starts."""

from __future__ import annotations

import grp
import os
from dataclasses import replace
from pathlib import Path

import pytest

from framework.process.privileges import PrivilegeError, resolve
from framework.process.view import Tree, plan
from framework.site import Site, SiteError, load
from framework.site.check import check_site

SITE = """\
[site]
name = "appliance"
control_group = "operators"

[[host]]
name = "console.localhost"
backends = ["status", "notes"]

[backend.notes]
application = "notes:app"

[backend.status]
application = "status:app"
"""


def read(folder: Path, *lines: str) -> Site:
    file = folder / "site.toml"
    file.write_text(SITE + "\n".join(lines))
    for name in ("status", "notes"):
        (folder / f"{name}.py").write_text("app = None\n")
    return load(file)


def test_groups_and_the_working_directory_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    status = read(tmp_path, 'groups = ["audio", "dialout"]', 'working_directory = "data"').backends["status"]
    assert status.groups == ("audio", "dialout")
    assert status.working_directory == tmp_path / "data"


def test_without_them_an_account_is_what_the_system_says_and_starts_in_its_own_folder(tmp_path: Path) -> None:
    status = read(tmp_path).backends["status"]
    assert status.groups == ()
    assert status.working_directory is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('groups = ["root"]', "backend.status.groups: is root's group"),
        ('groups = ["www-data"]', "www-data is the front end's: this back end could then talk to all others directly"),
        ('groups = ["operators"]', "site.control_group: is the group of back end status"),
        ('groups = ["Not A Group"]', "backend.status.groups"),
        ('groups = "audio"', "backend.status.groups"),
        ('working_directory = "nowhere"', "backend.status.working_directory"),
        ("working_directory = 7", "backend.status.working_directory"),
    ],
)
def test_what_would_open_too_much_or_is_not_there_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, line)
    (problem,) = caught.value.problems
    assert reason in str(problem)
    assert problem.line is not None


def test_the_group_of_another_back_end_is_warned_of(tmp_path: Path) -> None:
    (warning,) = read(tmp_path, 'groups = ["appliance-notes"]').remarks
    assert (warning.level, warning.key) == ("warning", "backend.status.groups")
    assert "appliance-notes is the group of notes" in warning.reason


def test_a_group_that_the_system_does_not_have_is_found_by_check(tmp_path: Path) -> None:
    site = read(tmp_path, 'groups = ["no-such-group"]')
    (found,) = [problem for problem in check_site(site) if problem.key == "backend.status.groups"]
    assert found.level == "error"
    assert "there is no group no-such-group" in str(found)
    assert "groupadd --system no-such-group" in found.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, whose folders are closed to others")
def test_a_closed_working_directory_is_noted_since_its_user_is_shown_it_all_the_same(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    site = read(tmp_path, f'working_directory = "{closed}"')
    (found,) = [problem for problem in check_site(site) if problem.key == "backend.status.working_directory"]
    assert found.level == "note"
    assert "cannot read the working directory" in found.reason
    rights = resolve("daemon")
    view = plan([Tree(str(closed))], "daemon", rights.uid, rights.gid, rights.groups)
    assert view is not None
    assert str(closed) in view.directories or str(closed) in view.covers


def test_supplementary_groups_are_those_of_the_account_and_those_declared() -> None:
    daemon, audio = grp.getgrnam("daemon").gr_gid, grp.getgrnam("audio").gr_gid
    assert set(resolve("daemon", groups=["audio"]).groups) == {*os.getgrouplist("daemon", daemon), audio}


@pytest.mark.parametrize("name", ["no-such-group", "root"])
def test_a_group_that_nobody_may_have_is_refused_before_anything_starts(name: str) -> None:
    with pytest.raises(PrivilegeError, match=name):
        resolve("daemon", groups=[name])


def test_another_folder_to_start_in_is_a_change_for_a_reload(tmp_path: Path) -> None:
    backend = read(tmp_path).backends["status"]
    assert replace(backend, working_directory=tmp_path) != backend
