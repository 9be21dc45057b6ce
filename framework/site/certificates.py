"""Certificates and keys of hosts: may others read the key, do the two belong together, for which names, until when.

The files are PEM. Whether key and certificate fit is asked of OpenSSL through `ssl`, what a certificate says of the
program `openssl`; both are only loaded or started where a host has a certificate. Also makes self-signed ones for
development.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fastcore.values import dataclass
from framework.folders import open_folder
from framework.site.problems import Level

MAX_PEM_BYTES: Final = 256 * 1024
OPENSSL_SECONDS: Final = 10.0
SOON_DAYS: Final = 21
"""Days before its end from which on a certificate is warned of."""
SELF_SIGNED_DAYS: Final = 365


class CertificateError(Exception):
    """A certificate or key cannot be used; the text names the file, `hint` what to do."""

    def __init__(self, text: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Remark:
    """One finding about the files of one host; `key` is "certificate" or "key"."""

    key: str
    reason: str
    hint: str = ""
    level: Level = "error"


def read_pem(file: Path, *, secret: bool) -> bytes:
    """The content of a certificate or key. Raises CertificateError; also for a `secret` that others can read.

    Links are followed: where certificates are renewed by themselves, a link leads to the newest.
    """
    try:
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise CertificateError(f"{file}: {error.strerror}") from None
    with open(number, "rb") as stream:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise CertificateError(f"{file} is not a file")
        if secret:
            _check_secret(file, status)
        content = stream.read(MAX_PEM_BYTES + 1)
    if len(content) > MAX_PEM_BYTES:
        raise CertificateError(f"{file} is larger than {MAX_PEM_BYTES // 1024} KiB")
    return content


def _check_secret(file: Path, status: os.stat_result) -> None:
    """A private key is its owner's alone, and that is root or the caller."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IRWXO or (mode & stat.S_IRWXG and status.st_gid != 0):
        raise CertificateError(f"{file} has mode {mode:04o}, so others can read the key", f"chmod 0600 {file}")
    if status.st_uid not in (0, os.geteuid()):
        reason = f"{file} belongs to uid {status.st_uid}, who can read and change the key"
        raise CertificateError(reason, f"chown root {file}")


def examine(certificate: Path, key: Path, names: Iterable[str]) -> Iterator[Remark]:
    """Everything that is wrong with the files of a host of these names; the first error of a kind only."""
    try:
        read_pem(certificate, secret=False)
    except CertificateError as error:
        yield Remark("certificate", str(error), error.hint)
        return
    yield from _examine_key(certificate, key)
    try:
        facts = _facts(certificate)
    except CertificateError as error:
        yield Remark("certificate", str(error), error.hint)
        return
    yield from _examine_dates(certificate, facts)
    covered = _names_in(facts)
    missing = [name for name in names if not any(covers(each, name) for each in covered)]
    if missing:
        reason = f"{certificate} is not for {', '.join(missing)}, but for {', '.join(covered) or 'no name at all'}"
        yield Remark("certificate", reason, "browsers refuse it for these names", "warning")


def _examine_key(certificate: Path, key: Path) -> Iterator[Remark]:
    try:
        read_pem(key, secret=True)
    except CertificateError as error:
        if not (os.geteuid() and str(error).endswith(os.strerror(13))):
            yield Remark("key", str(error), error.hint)
        else:
            yield Remark("key", f"{key} can only be looked at by root", "run sitectl check as root", "note")
        return
    import ssl

    def password() -> str:
        raise CertificateError(f"{key} is encrypted, and nobody can type its password", "keep it in clear, mode 0600")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password)
    except CertificateError as error:
        yield Remark("key", str(error), error.hint)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield Remark("key", f"{key} is not the key of {certificate}", "name the two that belong together")
        else:
            what = (error.reason or "no PEM in it").replace("_", " ").lower()
            yield Remark(
                "key", f"{certificate} and {key} cannot be used: {what}", "PEM files, the certificate's own first"
            )


def _examine_dates(certificate: Path, facts: str) -> Iterator[Remark]:
    begin, end = (_date(facts, word) for word in ("notBefore", "notAfter"))
    now = datetime.now(UTC)
    if begin is not None and begin > now:
        yield Remark(
            "certificate", f"{certificate} is not valid before {begin:%Y-%m-%d %H:%M} UTC", "is the clock right?"
        )
    if end is None:
        return
    if end <= now:
        yield Remark("certificate", f"{certificate} has been invalid since {end:%Y-%m-%d %H:%M} UTC", "renew it")
    elif (end - now).days < SOON_DAYS:
        yield Remark("certificate", f"{certificate} ends on {end:%Y-%m-%d}", "renew it", "warning")


def _date(facts: str, word: str) -> datetime | None:
    match = re.search(rf"(?m)^{word}=(.*?) GMT$", facts)
    try:
        return datetime.strptime(match[1], "%b %d %H:%M:%S %Y").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def _names_in(facts: str) -> list[str]:
    """The names that a certificate is for (RFC 6125: those of its subjectAltName)."""
    found = re.findall(r"(?:DNS|IP Address):([^\s,]+)", facts)
    return [name.lower() for name in found]


def covers(pattern: str, name: str) -> bool:
    """Whether a name in a certificate is good for a host's name: "*.example.org" for one label more.

    >>> covers("*.example.org", "www.example.org"), covers("*.example.org", "a.b.example.org")
    (True, False)
    """
    if ":" in name:
        import ipaddress

        try:
            return ipaddress.ip_address(pattern) == ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
    if pattern.startswith("*.") and not name.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name


def _facts(certificate: Path) -> str:
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-startdate", "-enddate", "-ext", "subjectAltName"]
    return _openssl(command, f"{certificate} is no certificate in PEM")


def _openssl(command: list[str], complaint: str, keep: tuple[int, ...] = ()) -> str:
    import subprocess

    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=OPENSSL_SECONDS,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
            pass_fds=keep,
        )
    except FileNotFoundError:
        hint = "apt-get install --no-install-recommends openssl"
        raise CertificateError("the program openssl is not installed", hint) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CertificateError(f"openssl: {error}") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise CertificateError(f"{complaint}: {last[0] if last else f'exit status {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def make_self_signed(certificate: Path, key: Path, names: Iterable[str], days: int = SELF_SIGNED_DAYS) -> None:
    """A new key (P-256, mode 0600) and a certificate for `names` that it signs itself, for development.

    Neither file may be there; both are made, or none. Their folders are root's or the caller's, and so are the links on
    the way: nobody else can have the key put elsewhere, or exchange it. Raises CertificateError.
    """
    kinds = [f"{'IP' if _is_address(name) else 'DNS'}:{name.strip('[]')}" for name in names]
    folders: list[int] = []
    try:
        for file in (certificate, key):
            folders.append(_own_folder(file))
            if file.name in os.listdir(folders[-1]):
                raise CertificateError(f"{file} is there already", "remove it first, or name others in the site file")
        made = _new_pair(kinds, days)
        _create(certificate, folders[0], made[0], 0o644)
        try:
            _create(key, folders[1], made[1], 0o600)
        except CertificateError:
            os.unlink(certificate.name, dir_fd=folders[0])
            raise
    finally:
        for number in folders:
            os.close(number)


def _own_folder(file: Path) -> int:
    """A descriptor of the folder that is to have this file. Raises CertificateError."""
    folder, trusted = file.absolute().parent, (0, os.geteuid())
    try:
        number = open_folder(folder, trusted)
    except (FileNotFoundError, NotADirectoryError):
        raise CertificateError(f"there is no folder {folder}", f"mkdir -p {folder}") from None
    except OSError as error:
        raise CertificateError(f"{folder}: {error.strerror}", "choose a folder of your own") from None
    found = os.fstat(number)
    others = stat.S_IWOTH | (stat.S_IWGRP if os.geteuid() == 0 and found.st_gid else 0)
    why = ""
    if found.st_uid not in trusted:
        why = f"belongs to uid {found.st_uid}"
    elif found.st_mode & others and not found.st_mode & stat.S_ISVTX:
        why = f"can be written by others ({stat.S_IMODE(found.st_mode):04o})"
    if why:
        os.close(number)
        raise CertificateError(f"{folder} {why}, who could exchange the key", "choose a folder of your own")
    return number


def _new_pair(kinds: list[str], days: int) -> tuple[bytes, bytes]:
    """Certificate and key, made in memory. Raises CertificateError."""
    common = kinds[0].partition(":")[2][:64]
    with open(os.memfd_create("certificate"), "rb") as certificate, open(os.memfd_create("key"), "rb") as key:
        numbers = (certificate.fileno(), key.fileno())
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-out", f"/dev/fd/{numbers[0]}", "-keyout", f"/dev/fd/{numbers[1]}", "-days", str(days)]
        command += ["-subj", f"/CN={common}", "-addext", f"subjectAltName={','.join(kinds)}"]
        command += ["-addext", "extendedKeyUsage=serverAuth"]
        _openssl(command, "no certificate was made", numbers)
        return certificate.read(), key.read()


def _create(file: Path, folder: int, content: bytes, mode: int) -> None:
    """A new file with all of this, or none. Raises CertificateError."""
    try:
        number = os.open(file.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            with open(number, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fchmod(number, mode)
        except OSError:
            os.unlink(file.name, dir_fd=folder)
            raise
    except OSError as error:
        raise CertificateError(f"{file}: {error.strerror}") from None


def _is_address(name: str) -> bool:
    return name.startswith("[") or re.fullmatch(r"[0-9.]+", name) is not None
