"""What `sitectl check` can say of a site's rights before anything starts: capabilities, system calls, files, secrets.

All findings come back at once, each with its line; nothing is started or changed. What a start would refuse is an
error here, by the same names and the same functions. Of what the caller may not see itself nothing is said.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from framework.process import linux, seccomp
from framework.process.credentials import MAX_CREDENTIAL_BYTES
from framework.process.sandbox import TEMPORARY
from framework.site.check import findings_of
from framework.site.problems import Problem
from framework.site.tables import Findings, nearest

if TYPE_CHECKING:
    from framework.site.schema import Backend, Site

__all__ = ["check_rights"]


def check_rights(site: Site) -> list[Problem]:
    """What is wrong with what the back ends of `site` are given, in the order of its file.

    >>> [str(problem) for problem in check_rights(load("site.toml"))]
    ['site.toml:9: error: backend.status.read: /dev/sensor does not exist']
    """
    findings = findings_of(site)
    for backend in site.backends.values():
        _check_capabilities(backend, findings)
        _check_credentials(backend, findings)
        if backend.sandbox:
            _check_system_calls(backend, findings)
            _check_paths(backend, findings)
            _check_hidden(backend, findings)
    return findings.in_file_order()


def _place(backend: Backend, key: str) -> tuple[tuple[str | int, ...], str]:
    return ("backend", backend.name, key), f"backend.{backend.name}.{key}"


def _check_capabilities(backend: Backend, findings: Findings) -> None:
    place = _place(backend, "capabilities")
    for name in backend.capabilities:
        if name.removeprefix("cap_") not in linux.CAPABILITIES:
            findings.note(
                *place,
                f"there is no capability {name!r}",
                _near(name, linux.CAPABILITIES, "capabilities(7) lists them"),
            )
    if backend.capabilities and os.geteuid() != 0:
        findings.note(*place, "only root can give these", "run sitectl as root", "warning")


def _check_system_calls(backend: Backend, findings: Findings) -> None:
    place = _place(backend, "system_calls")
    for name in backend.system_calls:
        try:
            known = name in seccomp.SETS or seccomp.is_call(name)
        except seccomp.SeccompError:  # without the library there is no filter, and no list of calls
            return
        if not known:
            hint = _near(name, seccomp.SETS, f"sets: {', '.join(sorted(seccomp.SETS))}; calls: syscalls(2)")
            findings.note(*place, f"{name!r} is neither a system call nor a set of them", hint)


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    hint = nearest(name, known)
    return hint if hint.startswith("did you mean") else otherwise


def _check_paths(backend: Backend, findings: Findings) -> None:
    for key, paths in (("read", backend.read), ("write", backend.write), ("execute", backend.execute)):
        for path in paths:
            if _is_missing(path):
                hint = "it has to be there when the back end starts"
                findings.note(*_place(backend, key), f"{path} does not exist", hint)


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # in a folder that is closed to the caller
        return False
    return False


def _check_hidden(backend: Backend, findings: Findings) -> None:
    if not backend.private_tmp:
        return
    for path in (*backend.path, backend.state_directory):
        if any(path.is_relative_to(hidden) for hidden in TEMPORARY):
            hint = f"keep code and data outside {' and '.join(TEMPORARY)}, or leave private_tmp out"
            findings.note(*_place(backend, "private_tmp"), f"would hide {path}", hint)


def _check_credentials(backend: Backend, findings: Findings) -> None:
    place = _place(backend, "credentials")
    for name, file in backend.credentials.items():
        try:
            status = file.stat()
        except PermissionError:
            continue
        except OSError as error:
            findings.note(*place, f"{name}: {file}: {error.strerror}", "root has to be able to read it at each start")
            continue
        if not stat.S_ISREG(status.st_mode):
            findings.note(*place, f"{name}: {file} is not a file")
        elif status.st_size > MAX_CREDENTIAL_BYTES:
            findings.note(*place, f"{name}: {file} is larger than {MAX_CREDENTIAL_BYTES >> 20} MiB")
        elif status.st_mode & stat.S_IROTH:
            findings.note(*place, f"{name}: everybody can read {file}", f"chmod o-r {file}", "warning")
