"""Code below a directory that is closed to a back end's user, shown to it alone, read-only, at the same path.

`plan` runs in the parent: it follows each needed path the way the kernel would, tries as the user where the way is
barred, and returns a `View`, or None where nothing is. `View.enter` runs in the child, still as root: in a mount
namespace of its own it lays a small empty file system over each barred directory, builds the way to the needed
trees in it, and binds them there. Whatever else lies in the barred directory stays out of sight. Sources:
mount_namespaces(7), mount(2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from fastcore.values import dataclass, field
from framework.process import linux

__all__ = ["Tree", "View", "ViewError", "plan"]

MAX_LINKS = 40
"""Symbolic links followed in one path before it counts as a loop (path_resolution(7))."""

MAX_ENTRIES = 512
"""Entries of a barred folder that are shown one by one; a needed folder that is itself barred may have no more."""

COVER_OPTIONS = "mode=0755,size=256k,nr_inodes=2048"


class ViewError(Exception):
    """The user cannot reach what it needs, and a view cannot help; names the directory, the user and the fix."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A file or folder that must be reachable; `writable` for a state directory, all others are shown read-only."""

    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What to mount, in order: covers over barred directories, then the way, then the trees."""

    covers: tuple[str, ...]
    directories: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    trees: tuple[Tree, ...]

    def enter(self) -> None:
        """Build the view in a new mount namespace of the calling process. Raises OSError that names the path."""
        linux.unshare_mounts()
        # Slave: no mount of ours reaches the system; a disk that the system unmounts is not held here.
        linux.mount("", "/", flags=linux.MS_REC | linux.MS_SLAVE)
        sources = {tree: os.open(tree.path, os.O_PATH | os.O_CLOEXEC) for tree in self.trees}
        for cover in self.covers:
            linux.mount("tmpfs", cover, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC, COVER_OPTIONS)
        old = os.umask(0o022)
        for directory in self.directories:
            os.makedirs(directory, mode=0o755, exist_ok=True)
        for path, target in self.links:
            os.symlink(target, path)
        for tree, source in sources.items():
            _bind(tree, source)
        os.umask(old)
        for cover in self.covers:
            flags = (
                linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
            )
            linux.mount("", cover, flags=flags)


def _bind(tree: Tree, source: int) -> None:
    if not os.path.lexists(tree.path):
        if stat.S_ISDIR(os.fstat(source).st_mode):
            os.makedirs(tree.path, mode=0o755)
        else:
            os.makedirs(os.path.dirname(tree.path), mode=0o755, exist_ok=True)
            os.close(os.open(tree.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    linux.mount(f"/proc/self/fd/{source}", tree.path, flags=linux.MS_BIND)
    os.close(source)
    flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_NOSUID | linux.MS_NODEV
    kept = os.statvfs(tree.path).f_flag & (os.ST_RDONLY | os.ST_NOEXEC)  # the same bits as MS_RDONLY and MS_NOEXEC
    linux.mount("", tree.path, flags=flags | kept | (0 if tree.writable else linux.MS_RDONLY))


# ---- in the parent: which way leads there, and where is it barred --------------------------------


@dataclass(slots=True)
class _Way:
    """How a path resolves: real directories passed, links followed (path, target), and where it ends."""

    tree: Tree
    directories: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    end: str = "/"


def _follow(tree: Tree) -> _Way:
    """Resolve a path part by part (path_resolution(7)). Raises ViewError where it leads nowhere."""
    way = _Way(tree)
    here, todo = "/", [part for part in tree.path.split("/") if part]
    while todo:
        part = todo.pop(0)
        if part in (".", ".."):
            here = os.path.dirname(here) if part == ".." else here
            continue
        way.directories.append(here)
        path = os.path.join(here, part)
        try:
            target = os.readlink(path) if os.path.islink(path) else None
            os.lstat(path)
        except OSError as error:
            raise ViewError(f"{tree.path}: {error.strerror} ({path})") from None
        if target is None:
            here = path
            continue
        way.links.append((path, target))
        if len(way.links) > MAX_LINKS:
            raise ViewError(f"{tree.path}: too many symbolic links")
        todo[:0] = [name for name in target.split("/") if name]
        here = "/" if target.startswith("/") else here
    way.end = here
    return way


def _barred(modes: dict[str, int], uid: int, gid: int, groups: tuple[int, ...]) -> set[str]:
    """The paths to which the user lacks the access asked of each (os.X_OK, os.R_OK): tried in a child as that user.

    Each path is tried by a descriptor opened as root, so that a barred ancestor does not hide the answer for what
    lies below it.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process, out of sight of the parent's coverage
        try:
            opened = [(os.open(path, os.O_PATH), mode) for path, mode in modes.items()]
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            # From here on no process of that user may look into this one: it holds root's memory and descriptors, so
            # it stays undumpable; its own /proc/self/fd it may use all the same (proc_pid_fd(5)).
            os.setresuid(uid, uid, uid)
            os.write(writer, bytes(os.access(f"/proc/self/fd/{number}", mode) for number, mode in opened))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        answers = pipe.read()
    os.waitpid(child, 0)
    if len(answers) != len(modes):
        raise ViewError(f"cannot try what uid {uid} reaches: the change to that user was refused")
    return {path for path, answer in zip(modes, answers, strict=True) if not answer}


def plan(trees: Iterable[Tree], user: str, uid: int, gid: int, groups: tuple[int, ...]) -> View | None:
    """What `uid` must be shown to reach all `trees`; None where every way is open already. For root only.

    Raises ViewError where a tree does not exist, where a file's own mode bars it, and where this process may not mount.
    """
    ways = [_follow(tree) for tree in trees]
    modes = {directory: os.X_OK for way in ways for directory in way.directories}
    for way in ways:
        modes[way.end] = os.R_OK | os.X_OK if os.path.isdir(way.end) else os.R_OK
    barred = _barred(modes, uid, gid, groups)
    barred_ways = [way for way in ways if not barred.isdisjoint((*way.directories, way.end))]
    if not barred_ways:
        return None
    for way in barred_ways:
        _refuse_hopeless(way, barred, user)
    covers = _topmost(path for way in barred_ways for path in (*way.directories, way.end) if path in barred)
    if not linux.can_unshare_mounts():
        raise ViewError(
            f"{covers[0]} is closed to user {user!r}, who must read {barred_ways[0].tree.path}, and this process may "
            f"not mount (no CAP_SYS_ADMIN): run 'chmod o+x {covers[0]}', or move the code to where all may go, as /opt"
        )
    return _assemble(barred_ways, barred, covers)


def _refuse_hopeless(way: _Way, barred: set[str], user: str) -> None:
    if "/" in barred:
        raise ViewError(f"the root directory is closed to user {user!r}: run 'chmod o+rx /'")
    if way.end in barred and way.tree.writable:
        raise ViewError(f"{way.tree.path} is not open to its user {user!r}: 'sitectl setup' gives it the right owner")
    if way.end in barred and not os.path.isdir(way.end):
        raise ViewError(f"{way.end} cannot be read by user {user!r}: run 'chmod o+r {way.end}'")


def _assemble(ways: list[_Way], barred: set[str], covers: tuple[str, ...]) -> View:
    trees: dict[str, Tree] = {}
    directories: set[str] = set()
    links: dict[str, str] = {}
    for way in ways:
        directories.update(way.directories)
        links.update(way.links)
        if way.end in barred:
            directories.add(way.end)
            _show_entries(way.end, trees, links)
        else:
            trees[way.end] = Tree(way.end, way.tree.writable)
    bound = _without_nested(tree for tree in trees.values() if _below_any(tree.path, covers))
    shown = tuple(tree.path for tree in bound)
    return View(
        covers,
        tuple(sorted(path for path in directories if _below_any(path, covers) and not _in_any(path, shown))),
        tuple(
            (path, target) for path, target in links.items() if _below_any(path, covers) and not _in_any(path, shown)
        ),
        bound,
    )


def _show_entries(directory: str, trees: dict[str, Tree], links: dict[str, str]) -> None:
    """A needed folder that is itself closed: its entries are shown in its place, each with its own mode."""
    entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    if len(entries) > MAX_ENTRIES:
        raise ViewError(f"{directory} is closed and has more than {MAX_ENTRIES} entries: run 'chmod o+rx {directory}'")
    for entry in entries:
        if entry.is_symlink():
            links[entry.path] = os.readlink(entry.path)
        elif entry.is_dir() or entry.is_file():
            trees.setdefault(entry.path, Tree(entry.path))


def _without_nested(trees: Iterable[Tree]) -> tuple[Tree, ...]:
    """Outer trees first; a read-only tree inside another is there already, a writable one is laid over it."""
    kept: list[Tree] = []
    for tree in sorted(trees, key=lambda tree: tree.path):
        if tree.writable or not _in_any(tree.path, tuple(outer.path for outer in kept)):
            kept.append(tree)
    return tuple(kept)


def _topmost(paths: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not _in_any(path, tuple(kept)):
            kept.append(path)
    return tuple(kept)


def _below_any(path: str, directories: tuple[str, ...]) -> bool:
    return any(path.startswith(directory + "/") for directory in directories)


def _in_any(path: str, directories: tuple[str, ...]) -> bool:
    return path in directories or _below_any(path, directories)
