"""A back end's secrets as files that it alone may read: systemd's convention (LoadCredential, CREDENTIALS_DIRECTORY).

Root reads the files that the site file names and puts copies into a folder of the run directory, which lies in memory
on usual systems: 0400, the back end's user's; the folder is root's, so that nothing can be put in a copy's place.
Nothing of them is in an environment, a command line or the spec.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from framework.process.privileges import Privileges
from framework.process.runfiles import RunError, write_file

if TYPE_CHECKING:
    from framework.site.schema import Backend, Site

__all__ = ["MAX_CREDENTIAL_BYTES", "check", "place"]

MAX_CREDENTIAL_BYTES = 1 << 20
"""Of one secret, as systemd has it."""


def check(backend: Backend) -> list[str]:
    """What keeps its secrets from being read, one line for each."""
    problems = []
    for name, file in backend.credentials.items():
        try:
            _read(name, file)
        except RunError as error:
            problems.append(f"back end {backend.name!r}: {error}")
    return problems


def place(site: Site, backend: Backend, rights: Privileges) -> Path:
    """Put its secrets into its folder, each as a whole, and remove what is no more declared; returns the folder.

    Raises RunError and OSError.
    """
    folder = site.credentials_path(backend.name)
    for path, mode in ((folder.parent, 0o711), (folder, 0o750)):
        path.mkdir(mode=mode, exist_ok=True)
        path.chmod(mode)
    if rights.switch:
        os.chown(folder, -1, rights.gid)
    for name, file in backend.credentials.items():
        secret = _read(name, file)
        write_file(folder / name, secret, 0o400, owner=(rights.uid, rights.gid) if rights.switch else None)
    for old in folder.iterdir():
        if old.name not in backend.credentials:
            old.unlink()
    return folder


def _read(name: str, file: Path) -> bytes:
    try:
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(number, "rb") as stream:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise RunError(f"credential {name!r}: {file} is not a file")
            secret = stream.read(MAX_CREDENTIAL_BYTES + 1)
    except OSError as error:
        raise RunError(f"credential {name!r}: {file}: {error.strerror}") from None
    if len(secret) > MAX_CREDENTIAL_BYTES:
        raise RunError(f"credential {name!r}: {file} is larger than {MAX_CREDENTIAL_BYTES} bytes")
    return secret
