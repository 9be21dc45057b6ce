"""`sitectl setup` and its undo with real accounts: each step told, done once, and exactly undone."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, alive, discard, open_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: accounts are made and removed")


@pytest.fixture
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.add_backend("one")
    site.add_backend("two")
    site.write_site()
    try:
        yield site
    finally:
        site.sitectl("remove", "--yes")
        discard(folder)


def users_and_groups() -> tuple[set[str], set[str]]:
    return {entry.pw_name for entry in pwd.getpwall()}, {entry.gr_name for entry in grp.getgrall()}


def lines(site: RunningSite, command: str, *options: str) -> list[str]:
    done = site.sitectl(command, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_dry_run_tells_the_steps_and_changes_nothing(site: RunningSite) -> None:
    before = users_and_groups()
    told = lines(site, "setup", "--dry-run")
    assert f"would make user {site.name}-one (system user, no login, group {site.name}-one)" in told
    assert f"would make directory {site.state_directory}/two ({site.name}-two, 0700)" in told
    assert f"would make directory {site.run_directory} (root, 0755)" in told
    assert len(told) == len(set(told))
    assert users_and_groups() == before
    assert not site.state_directory.exists()


def test_accounts_have_no_login_no_home_and_no_password(site: RunningSite) -> None:
    lines(site, "setup")
    account = pwd.getpwnam(site.user_of("one"))
    assert account.pw_shell == "/usr/sbin/nologin"
    assert account.pw_dir == "/nonexistent"
    assert 0 < account.pw_uid < 1000
    assert grp.getgrgid(account.pw_gid).gr_name == site.user_of("one")
    shadow = next(
        line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith(f"{account.pw_name}:")
    )
    assert shadow.split(":")[1].startswith("!")


def test_directories_belong_to_whom_they_should(site: RunningSite) -> None:
    lines(site, "setup")
    for name in ("one", "two"):
        found = (site.state_directory / name).stat()
        assert found.st_mode & 0o7777 == 0o700
        assert found.st_uid == pwd.getpwnam(site.user_of(name)).pw_uid
    for folder in (site.state_directory, site.run_directory, site.run_directory / "sockets"):
        found = folder.stat()
        assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o755, 0, 0)
    assert (site.state_directory / "setup.json").stat().st_mode & 0o777 == 0o600


def test_a_second_setup_finds_all_there_and_changes_nothing(site: RunningSite) -> None:
    lines(site, "setup")
    before = (site.state_directory / "setup.json").read_text()
    told = lines(site, "setup")
    assert told[-1] == "nothing to do: all is there"
    assert all(line.startswith("exists ") for line in told[:-1])
    assert (site.state_directory / "setup.json").read_text() == before


def test_setup_makes_what_a_changed_site_adds_and_mends_owners_and_modes(site: RunningSite) -> None:
    lines(site, "setup")
    (site.state_directory / "one").chmod(0o755)
    os.chown(site.state_directory / "two", 0, 0)
    site.add_backend("three")
    site.write_site()
    told = [line for line in lines(site, "setup") if line.startswith("made ")]
    assert len(told) == 5
    assert (site.state_directory / "one").stat().st_mode & 0o777 == 0o700
    assert (site.state_directory / "two").stat().st_uid == pwd.getpwnam(site.user_of("two")).pw_uid
    assert pwd.getpwnam(site.user_of("three"))


def test_remove_undoes_setup_exactly(site: RunningSite) -> None:
    before = users_and_groups()
    lines(site, "setup")
    told = lines(site, "remove", "--dry-run")
    assert f"would remove  user {site.user_of('one')}" in "\n".join(told)
    assert pwd.getpwnam(site.user_of("one"))
    told = lines(site, "remove")
    assert all(line.startswith("removed ") for line in told)
    assert users_and_groups() == before
    assert not site.state_directory.exists()
    assert not site.run_directory.exists()
    assert lines(site, "remove") == [f"nothing to do: setup has made nothing for the site {site.name}"]


def test_remove_keeps_data_until_it_is_told(site: RunningSite) -> None:
    lines(site, "setup")
    (site.state_directory / "one" / "notes.db").write_text("precious")
    done = site.sitectl("remove", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert f"directory {site.state_directory}: with 1 files and folders in it, all of it would be gone" in done.stderr
    assert (site.state_directory / "one" / "notes.db").read_text() == "precious"
    assert pwd.getpwnam(site.user_of("one"))
    lines(site, "remove", "--yes")
    assert not site.state_directory.exists()


def test_what_was_there_before_setup_stays(site: RunningSite) -> None:
    user = site.user_of("one")
    subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", user], check=True)
    site.state_directory.mkdir()
    own = site.state_directory / "keep"
    own.write_text("mine")
    try:
        lines(site, "setup")
        record = json.loads((site.state_directory / "setup.json").read_text())
        assert user not in record["users"]
        assert str(site.state_directory) not in record["directories"]
        lines(site, "remove", "--yes")
        assert pwd.getpwnam(user)
        assert own.read_text() == "mine"
        assert not (site.state_directory / "one").exists()
    finally:
        subprocess.run(["userdel", user], check=True)
        shutil.rmtree(site.state_directory)


def test_a_user_who_was_made_anew_by_somebody_else_is_left_alone(site: RunningSite) -> None:
    lines(site, "setup")
    user = site.user_of("one")
    subprocess.run(["userdel", user], check=True)
    subprocess.run(["useradd", "--system", "--uid", "61234", "--user-group", "--no-create-home", user], check=True)
    try:
        told = lines(site, "remove", "--yes")
        assert f"left alone    user {user} (is not the one that setup made)" in told
        assert pwd.getpwnam(user).pw_uid == 61234
    finally:
        subprocess.run(["userdel", user], check=True)


def test_remove_refuses_while_a_process_runs_as_the_user(site: RunningSite) -> None:
    lines(site, "setup")
    sleeper = subprocess.Popen(["/bin/sleep", "600"], user=site.user_of("one"))
    try:
        done = site.sitectl("remove", "--yes")
        assert done.returncode == 1
        assert f"user {site.user_of('one')} still has processes ({sleeper.pid}): 'sitectl stop' first" in done.stderr
        assert alive(sleeper.pid)
        assert site.state_directory.exists()
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "users": [], "groups": 1}', "\x00"]
)
def test_a_record_that_setup_did_not_write_is_refused(site: RunningSite, content: str) -> None:
    site.state_directory.mkdir()
    record = site.state_directory / "setup.json"
    record.write_text(content)
    try:
        for command in ("setup", "remove"):
            done = site.sitectl(command)
            assert done.returncode == 1
            assert done.stderr.startswith(f"sitectl: {record} cannot be read: ")
    finally:
        shutil.rmtree(site.state_directory)


def test_setup_without_root_says_what_to_do(site: RunningSite) -> None:
    done = site.sitectl("setup", user="nobody", cwd="/")
    assert done.returncode == 1
    assert done.stderr.startswith("sitectl: setup makes users and directories of the system, so it needs root\n")
    assert "sitectl dev" in done.stderr


def test_run_before_setup_names_every_missing_user(site: RunningSite) -> None:
    done = site.sitectl("run")
    assert done.returncode == 1
    for name in ("one", "two"):
        missing = f"sitectl: user '{site.user_of(name)}' does not exist: 'sitectl setup' creates the users of a site"
        assert missing in done.stderr.splitlines()
    assert not site.run_directory.exists()


def test_a_missing_user_of_the_front_end_is_told_too(site: RunningSite) -> None:
    site.site_keys = {"frontend_user": f"{site.name}-web", "frontend_group": f"{site.name}-web"}
    site.write_site()
    done = site.sitectl("run")
    assert done.returncode == 1
    assert f"sitectl: user '{site.name}-web' does not exist: 'sitectl setup' creates the users of a site" in done.stderr
    lines(site, "setup")
    assert pwd.getpwnam(f"{site.name}-web")
