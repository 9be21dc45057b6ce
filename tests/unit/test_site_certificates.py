"""Certificates and keys: what `sitectl check` and `sitectl certificate` say of real ones, made here by openssl."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from framework.cli import main
from framework.process.privileges import caller
from framework.process.runfiles import RunError
from framework.process.tls import check, files_of, keep_only, place
from framework.site import Site, load
from framework.site.certificates import CertificateError, covers, examine, make_self_signed

if shutil.which("openssl") is None:
    pytest.skip("openssl is not installed", allow_module_level=True)

SITE = """
[site]
name = "tls"
listen_tls = "127.0.0.1:8443"
[[host]]
name = "a.localhost"
aliases = ["b.localhost", "*.c.localhost", "127.0.0.1", "::1"]
certificate = "a.pem"
key = "a.key"
backends = ["one"]
[backend.one]
application = "one:app"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "one.py").write_text("def app(environ, start_response): ...\n")
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Site:
    assert main(["certificate", str(folder / "site.toml"), "a.localhost"]) == 0
    return load(folder, overrides={"run_directory": str(folder / "run"), "state_directory": str(folder / "state")})


def remarks(folder: Path, *names: str) -> list[tuple[str, str, str]]:
    found = examine(folder / "a.pem", folder / "a.key", names or ("a.localhost",))
    return [(remark.level, remark.key, remark.reason) for remark in found]


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def sign(folder: Path, *more: str) -> None:
    """A certificate that a made-up authority has signed, so that its dates may be any."""
    common = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "ca.key", "-out", folder / "ca.pem"]
    openssl(*common, "-subj", "/CN=ca")
    openssl("req", "-new", "-key", folder / "a.key", "-subj", "/CN=a.localhost", "-out", folder / "a.csr")
    (folder / "ext").write_text("subjectAltName=DNS:a.localhost\n")
    (folder / "a.pem").unlink()
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
    )
    ca = ["ca", "-batch", "-config", folder / "ca.cnf", "-cert", folder / "ca.pem", "-keyfile", folder / "ca.key"]
    openssl(*ca, "-extfile", folder / "ext", "-in", folder / "a.csr", "-out", folder / "a.pem", "-notext", *more)


def test_what_is_made_for_development_is_good_for_all_names_and_nobody_elses(folder: Path, site: Site) -> None:
    assert remarks(folder, *site.hosts[0].names) == []
    assert (folder / "a.key").stat().st_mode & 0o777 == 0o600
    assert check(site) == []


def test_nothing_is_made_over_what_is_there(folder: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "a.key").read_bytes()
    assert main(["certificate", str(folder / "site.toml"), "a.localhost"]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (folder / "a.key").read_bytes() == before


def test_a_host_that_is_not_there_or_has_no_certificate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certificate", str(folder / "site.toml"), "a.lokalhost"]) == 1
    assert 'did you mean "a.localhost"?' in capsys.readouterr().err
    with pytest.raises(CertificateError, match="no folder"):
        make_self_signed(folder / "no/a.pem", folder / "no/a.key", ["a"])


def test_where_the_key_cannot_be_written_no_certificate_is_left_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="File exists"):
        make_self_signed(tmp_path / "both.pem", tmp_path / "both.pem", ["a"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, who could be misled")
@pytest.mark.parametrize(
    ("owner", "mode", "reason"), [(65534, 0o755, "belongs to uid 65534"), (0, 0o777, "can be written by others")]
)
def test_nothing_is_made_in_a_folder_of_others(tmp_path: Path, owner: int, mode: int, reason: str) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(mode)
    os.chown(folder, owner, -1)
    with pytest.raises(CertificateError, match=reason):
        make_self_signed(tmp_path / "a.pem", folder / "a.key", ["a"])
    assert [file.name for file in tmp_path.rglob("*")] == ["theirs"]
    folder.chmod(0o1777)
    os.chown(folder, 0, -1)
    make_self_signed(tmp_path / "a.pem", folder / "a.key", ["a"])


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, who could be misled")
def test_nothing_is_made_behind_a_link_of_others(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    make_self_signed(link / "a.pem", link / "a.key", ["a"])
    os.chown(link, 65534, -1, follow_symlinks=False)
    with pytest.raises(CertificateError, match="a symbolic link that uid 65534 made"):
        make_self_signed(link / "b.pem", link / "b.key", ["b"])
    victim = tmp_path / "victim"
    (tmp_path / "real" / "c.pem").symlink_to(victim)
    with pytest.raises(CertificateError, match="is there already"):
        make_self_signed(tmp_path / "real" / "c.pem", tmp_path / "real" / "c.key", ["c"])
    assert not victim.exists()
    assert sorted(file.name for file in (tmp_path / "real").iterdir()) == ["a.key", "a.pem", "c.pem"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666, 0o602])
def test_a_key_that_others_can_read_is_an_error(folder: Path, site: Site, mode: int) -> None:
    key = folder / "a.key"
    if os.geteuid() == 0:
        os.chown(key, 0, 65534)
    key.chmod(mode)
    ((level, which, reason),) = remarks(folder)
    assert (level, which) == ("error", "key")
    assert f"{key} has mode {mode:04o}, so others can read the key" in reason
    assert "chmod 0600" in check(site)[0]
    with pytest.raises(RunError, match="others can read"):
        place(site, caller(umask=0o077))


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root")
def test_a_key_of_another_user_is_an_error(folder: Path, site: Site) -> None:
    os.chown(folder / "a.key", 65534, 0)
    ((level, which, reason),) = remarks(folder)
    assert (level, which) == ("error", "key")
    assert "belongs to uid 65534" in reason


def test_the_key_of_another_certificate_an_encrypted_one_and_none(folder: Path, site: Site) -> None:
    make_self_signed(folder / "b.pem", folder / "b.key", ["b"])
    (folder / "a.key").write_bytes((folder / "b.key").read_bytes())
    assert [(level, key) for level, key, _ in remarks(folder)] == [("error", "key")]
    assert "is not the key of" in remarks(folder)[0][2]
    openssl("pkey", "-in", folder / "b.key", "-aes256", "-passout", "pass:secret", "-out", folder / "a.key")
    assert "is encrypted" in remarks(folder)[0][2]
    (folder / "a.key").write_text("nothing")
    assert "cannot be used" in remarks(folder)[0][2]
    (folder / "a.key").unlink()
    assert "No such file" in remarks(folder)[0][2]
    (folder / "a.pem").unlink()
    assert [(level, key) for level, key, _ in remarks(folder)] == [("error", "certificate")]


def test_names_that_a_certificate_is_not_for(folder: Path, site: Site) -> None:
    ((level, which, reason),) = remarks(folder, "a.localhost", "x.localhost", "y.c.localhost", "z.y.c.localhost")
    assert (level, which) == ("warning", "certificate")
    assert "is not for x.localhost, z.y.c.localhost, but for a.localhost, b.localhost" in reason


@pytest.mark.parametrize(
    ("dates", "level", "said"),
    [
        (
            ("-startdate", "20200101000000Z", "-enddate", "20210101000000Z"),
            "error",
            "invalid since 2021-01-01 00:00 UTC",
        ),
        (("-startdate", "20600101000000Z", "-enddate", "20700101000000Z"), "error", "not valid before 2060-01-01"),
        (("-days", "5"), "warning", "ends on"),
    ],
)
def test_dates(folder: Path, site: Site, dates: tuple[str, ...], level: str, said: str) -> None:
    sign(folder, *dates)
    ((found, which, reason),) = remarks(folder)
    assert (found, which) == (level, "certificate")
    assert said in reason


@pytest.mark.parametrize(
    ("pattern", "name", "good"),
    [
        ("a.org", "a.org", True),
        ("*.a.org", "a.org", False),
        ("*.a.org", "b.a.org", True),
        ("*.a.org", "c.b.a.org", False),
        ("*.a.org", "*.a.org", True),
        ("*.org", "*.a.org", False),
        ("0:0:0:0:0:0:0:1", "[::1]", True),
        ("a.org", "[::1]", False),
    ],
)
def test_which_names_a_certificate_covers(pattern: str, name: str, good: bool) -> None:
    assert covers(pattern, name) is good


def test_the_front_end_gets_copies_of_its_own_and_a_renewed_one_another_name(folder: Path, site: Site) -> None:
    site.run_directory.mkdir()
    rights = caller(umask=0o077)
    first = place(site, rights)
    for file, source in zip(first["a.localhost"], (folder / "a.pem", folder / "a.key"), strict=True):
        assert file.parent == site.tls_directory
        assert file.stat().st_mode & 0o777 == 0o400
        assert file.read_bytes() == source.read_bytes()
    assert place(site, rights) == first
    for name in ("a.pem", "a.key"):
        (folder / name).unlink()
    make_self_signed(folder / "a.pem", folder / "a.key", ["a.localhost"])
    second = place(site, rights)
    assert second != first
    keep_only(site, files_of(second))
    assert set(site.tls_directory.iterdir()) == set(second["a.localhost"])


def test_check_tells_all_of_it_with_file_and_line(folder: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.key").chmod(0o644)
    assert main(["check", str(folder / "site.toml")]) == 1
    said = capsys.readouterr().out
    assert f"site.toml:9: error: host[a.localhost].key: {folder}/a.key has mode 0644" in said
