"""What a back end is kept from beside its user's rights: files, programs, system calls, the network.

`plan` decides in the parent, from the site file and what this kernel can do; the steps of `privileges` put it in
force in the child. Sources: landlock(7), seccomp(2), network_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastcore.values import dataclass
from framework.process import landlock, linux, seccomp
from framework.process.landlock import Access

if TYPE_CHECKING:
    from framework.site.schema import Backend

__all__ = ["Sandbox", "SandboxError", "loaders", "plan"]

USUAL = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/share/zoneinfo",
    "/usr/share/locale",
    "/usr/share/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/mime.types",
    "/etc/ssl",
    "/dev/urandom",
    "/dev/random",
    "/sys/devices/system/cpu",
)
"""What interpreters and C libraries read of a system."""

FOR_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols")
LOADERS = ("/lib/ld-*.so*", "/lib64/ld-*.so*", "/lib/*/ld-*.so*", "/usr/lib/ld-*.so*", "/lib/ld-musl-*")
TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 (named to be hidden, not to be used)
"""Hidden behind an empty file system in memory where `private_tmp` is set."""

TEMPORARY_OPTIONS = "mode=1777,size=64m,nr_inodes=16k"


class SandboxError(Exception):
    """The sandbox cannot be as declared; the text names the key and what to do."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Ready to be put in force.

    access           files that may be opened
    program          the filter of system calls as BPF; empty where libseccomp is missing
    private_tmp      /tmp and /var/tmp of its own, in memory
    private_network  no network interface at all
    shortcomings     what was declared and this system cannot do, in words
    """

    access: Access
    program: bytes = b""
    private_tmp: bool = False
    private_network: bool = False
    shortcomings: tuple[str, ...] = ()

    def enter_namespaces(self, *, has_view: bool) -> None:
        """What has to be done as root. Raises OSError."""
        if self.private_network:
            linux.unshare_network()
        if self.private_tmp:
            if not has_view:
                linux.unshare_mounts()
                linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
            for directory in TEMPORARY:
                linux.mount("tmpfs", directory, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, TEMPORARY_OPTIONS)

    def to_spec(self) -> dict[str, Any]:
        """What `proof` tries after exec, as JSON-able data."""
        return {"seccomp": bool(self.program), "closed": self._surely_closed()}

    def _surely_closed(self) -> str:
        """A directory that everybody may list, and this process may not; "" where there is none."""
        shown = (*self.access.read, *self.access.write)
        return "" if "/" in shown or not linux.landlock_version() else "/"


def plan(backend: Backend, *, code: Iterable[str], packages: Iterable[str], python: str) -> Sandbox | None:
    """The sandbox of a back end; None where the site file switches it off.

    code      files and folders of the interpreter and the application, to be read
    packages  folders in which an import looks for modules: to be listed, not to be read
    python    the interpreter, to be executed

    Raises SandboxError.
    """
    if not backend.sandbox:
        return None
    if os.geteuid() != 0 and (backend.private_tmp or backend.private_network):
        raise SandboxError(f"back end {backend.name!r}: private_tmp and private_network need root")
    code = tuple(dict.fromkeys(code))
    if backend.private_tmp:
        _refuse_hidden(backend, code)
    declared = {"read": backend.read, "write": backend.write, "execute": backend.execute}
    _refuse_missing(backend.name, declared)
    version = linux.landlock_version()
    shortcomings = landlock.shortcomings(version)
    access = Access(
        read=(*code, *map(str, backend.read)),
        write=(
            *map(str, backend.write),
            *(TEMPORARY if backend.private_tmp else ()),
            *_present(backend.state_directory),
        ),
        execute=(os.path.realpath(python), *loaders(), *map(str, backend.execute)),
        list=tuple(packages),
        usual=(*USUAL, *(FOR_NETWORK if backend.network else ())),
        tcp=backend.network,
    )
    try:
        _refuse_unknown_calls(backend)
        program = seccomp.build(backend.system_calls, network=backend.network)
    except seccomp.SeccompError as error:
        program = b""
        shortcomings.append(f"system calls are not filtered: {error}")
    return Sandbox(access, program, backend.private_tmp, backend.private_network, tuple(shortcomings))


def _refuse_unknown_calls(backend: Backend) -> None:
    for name in backend.system_calls:
        if name not in seccomp.SETS and not seccomp.is_call(name):
            sets = ", ".join(sorted(seccomp.SETS))
            what = f"back end {backend.name!r}: system_calls names {name!r}"
            raise SandboxError(f"{what}, which is neither a system call nor one of the sets {sets}")


def _present(path: Path) -> tuple[str, ...]:
    """A state directory that is still to be made bars nobody: an import that only tells its URLs needs none."""
    return (str(path),) if path.is_dir() else ()


def loaders() -> tuple[str, ...]:
    """The dynamic loader, which the kernel executes before every program."""
    import glob

    return tuple({os.path.realpath(path) for pattern in LOADERS for path in glob.glob(pattern)})


def _refuse_hidden(backend: Backend, code: Iterable[str]) -> None:
    for path in (*code, str(backend.state_directory)):
        if any(path == hidden or path.startswith(hidden + "/") for hidden in TEMPORARY):
            what = f"back end {backend.name!r}: private_tmp would hide {path}"
            raise SandboxError(f"{what}: keep code and data outside {' and '.join(TEMPORARY)}, or leave it out")


def _refuse_missing(name: str, declared: Mapping[str, Iterable[os.PathLike[str]]]) -> None:
    missing = [
        f"back end {name!r}: {key} names {os.fspath(path)}, which does not exist"
        for key, paths in declared.items()
        for path in paths
        if not os.path.exists(path)
    ]
    if missing:
        raise SandboxError("; ".join(missing))
