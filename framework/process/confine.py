"""A back end that a service manager has started closes for itself what the supervisor closes before exec.

Landlock and the filter of system calls only ever narrow, so they need no rights; the user, groups and capabilities
are the manager's. What comes out is proved as under the supervisor (`framework.process.proof`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framework.process import landlock, linux, seccomp
from framework.process.proof import read_status

__all__ = ["ConfineError", "confine"]


class ConfineError(Exception):
    """A step was refused, or the spec's part for it is not as `units.confinement_of` makes it."""


def confine(declared: Mapping[str, Any], credentials: str = "") -> str:
    """Put it in force for this process and all it starts; returns what now holds, in a line. Raises ConfineError.

    declared     the spec's "confinement"
    credentials  the folder of its secrets, which it may read; "" for none
    """
    try:
        access = landlock.Access(
            read=(*declared["read"], *([credentials] if credentials else [])),
            write=tuple(declared["write"]),
            execute=tuple(declared["execute"]),
            list=tuple(declared["list"]),
            usual=tuple(declared["usual"]),
            tcp=bool(declared["network"]),
        )
        program = seccomp.build(declared["system_calls"], network=bool(declared["network"]))
        linux.no_new_privileges()
        landlock.restrict(access)
        linux.filter_system_calls(program)
    except (KeyError, TypeError) as error:
        raise ConfineError(f"the spec's 'confinement' is not complete: {error}") from None
    except seccomp.SeccompError as error:
        raise ConfineError(str(error)) from None
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ConfineError(f"{error.strerror or error}{where}") from None
    status = read_status()
    version = linux.landlock_version()
    files = f"Landlock {version}" if version else "no Landlock in this kernel"
    shown = ", ".join(f"{key} {' '.join(status[key].split())}" for key in ("Uid", "Gid", "Groups", "CapEff", "CapBnd"))
    return f"confined: {shown}, NoNewPrivs {status['NoNewPrivs']}, Seccomp {status['Seccomp']}, {files}"
