"""The hosts' certificates and keys for the front end, which runs as its own user from the start and cannot read root's.

Root reads the files that the site file names and puts copies into a folder of the run directory (in memory, where
`/run` is): 0400, the front end's user's, in a folder that nobody else can enter. A copy's name holds a digest of its
content, so a renewed certificate is a changed configuration, and comes into use like any other: checked first, by a
reload.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from framework.process.runfiles import RunError, write_file
from framework.site.certificates import CertificateError, read_pem

if TYPE_CHECKING:
    from framework.process.privileges import Privileges
    from framework.site.schema import Host, Site

__all__ = ["Pairs", "check", "files_of", "keep_only", "place", "present"]

Pairs: TypeAlias = Mapping[str, tuple[Path, Path]]
"""Host → certificate and key."""


def check(site: Site) -> list[str]:
    """What keeps certificates and keys from being used, a line for each."""
    problems = []
    for host in site.hosts:
        try:
            _read(host)
        except CertificateError as error:
            hint = f": {error.hint}" if error.hint else ""
            problems.append(f"host {host.name}: {error}{hint}")
    return problems


def place(site: Site, rights: Privileges) -> Pairs:
    """Copy them for the front end; those that are there already stay. Raises RunError and OSError."""
    pairs: dict[str, tuple[Path, Path]] = {}
    for host in site.hosts:
        try:
            found = _read(host)
        except CertificateError as error:
            raise RunError(f"host {host.name}: {error}") from None
        if found is None:
            continue
        if not pairs:
            _make_folder(site.tls_directory, rights)
        import hashlib  # and with it OpenSSL's library, which a site without TLS does not need in the supervisor

        certificate, key = found
        stem = site.tls_directory / f"{host.name.strip('[]')}-{hashlib.sha256(certificate + key).hexdigest()[:32]}"
        pair = stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key")
        for file, content in zip(pair, found, strict=True):
            write_file(file, content, 0o400, owner=(rights.uid, rights.gid) if rights.switch else None)
        pairs[host.name] = pair
    return pairs


def files_of(pairs: Pairs) -> set[Path]:
    """The files of these copies."""
    return {file for pair in pairs.values() for file in pair}


def present(site: Site) -> set[Path]:
    """The copies that are there."""
    return set(site.tls_directory.iterdir()) if site.tls_directory.is_dir() else set()


def keep_only(site: Site, files: Collection[Path]) -> None:
    """Remove all copies but these."""
    for file in present(site):
        if file not in files:
            file.unlink()


def _read(host: Host) -> tuple[bytes, bytes] | None:
    if host.certificate is None or host.key is None:
        return None
    return read_pem(host.certificate, secret=False), read_pem(host.key, secret=True)


def _make_folder(folder: Path, rights: Privileges) -> None:
    folder.mkdir(mode=0o750, exist_ok=True)
    folder.chmod(0o750)
    if rights.switch:
        os.chown(folder, -1, rights.gid)
