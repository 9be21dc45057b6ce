"""What Linux tells under /proc and /sys, as plain values in bytes, seconds, degrees and counts.

`parse_*` take a file's text: a line that they do not understand is skipped, and no text makes them raise. `Machine`
reads the files: what is missing, closed, or vanishes while it is read (a process that ends) is left out. No program
is started.
"""

from __future__ import annotations

import functools
import itertools
import os
import pwd
import re
from collections.abc import Container, Iterator
from pathlib import Path

from fastcore.values import dataclass

MAX_FILE_BYTES = 1 << 20
MAX_PROCESSES = 10_000
MAX_NAME_CHARACTERS = 64
SECTOR_BYTES = 512
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_OCTAL = re.compile(r"\\([0-3][0-7]{2})")
_INTEGER = re.compile(r"[0-9]{1,20}\Z")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Clock ticks since boot: `busy` of `total`."""

    busy: int
    total: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes; `available` is what programs could get without swapping."""

    total: int
    available: int
    swap_total: int
    swap_free: int

    @property
    def used(self) -> int:
        return max(0, self.total - self.available)

    @property
    def swap_used(self) -> int:
        return max(0, self.swap_total - self.swap_free)


@dataclass(frozen=True, slots=True)
class Load:
    """Mean number of processes that ran or waited, over 1, 5 and 15 minutes."""

    one: float
    five: float
    fifteen: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes since the interface came up."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of mountinfo; `device` is "major:minor"."""

    device: str
    path: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system; bytes. `free` is what an unprivileged user may still write."""

    path: str
    kind: str
    source: str
    total: int
    used: int
    free: int


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `ticks` of processor time since it started, `started` in ticks after boot, `memory` resident
    bytes."""

    pid: int
    parent: int
    name: str
    state: str
    user: str
    uid: int
    threads: int
    ticks: int
    started: int
    memory: int


@dataclass(frozen=True, slots=True)
class Temperature:
    """Degrees Celsius of one sensor."""

    name: str
    celsius: float


def parse_cpu(text: str) -> dict[str, CpuTimes]:
    """/proc/stat: "cpu" for all processors together, "cpu0" … for each.

    The guest columns are left out: proc(5) counts them in user and nice already.

    >>> parse_cpu("cpu  30 0 20 40 10 0 0 0 0 0")
    {'cpu': CpuTimes(busy=50, total=100)}
    """
    found = {}
    for line in text.splitlines():
        name, *columns = line.split()[:9] or [""]
        ticks = [_integer(column) for column in columns]
        if not re.fullmatch(r"cpu[0-9]{0,5}", name) or len(ticks) < 4 or None in ticks:
            continue
        numbers = [tick for tick in ticks if tick is not None]
        total = sum(numbers)
        found[name] = CpuTimes(total - sum(numbers[3:5]), total)
    return found


def parse_memory(text: str) -> Memory | None:
    """/proc/meminfo; None where it does not tell the total."""
    sizes = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        number = _integer(rest.split()[0]) if rest.split() else None
        if colon and number is not None:
            sizes[name.strip()] = number * 1024
    if not sizes.get("MemTotal"):
        return None
    # Kernels before 3.14 have no MemAvailable.
    estimated = sizes.get("MemFree", 0) + sizes.get("Buffers", 0) + sizes.get("Cached", 0)
    return Memory(
        sizes["MemTotal"],
        min(sizes.get("MemAvailable", estimated), sizes["MemTotal"]),
        sizes.get("SwapTotal", 0),
        sizes.get("SwapFree", 0),
    )


def parse_load(text: str) -> Load | None:
    """/proc/loadavg."""
    numbers = [_decimal(word) for word in text.split()[:3]]
    known = [number for number in numbers if number is not None]
    return Load(*known) if len(known) == 3 else None


def parse_uptime(text: str) -> float | None:
    """/proc/uptime: seconds since boot."""
    words = text.split()
    return _decimal(words[0]) if words else None


def parse_traffic(text: str) -> dict[str, Traffic]:
    """/proc/net/dev by interface.

    Old kernels write the first number right behind the colon, so a line is parted at its last colon (aliases have one
    too).
    """
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")
        columns = [_integer(column) for column in rest.split()]
        if not colon or not name.strip() or len(columns) < 9:
            continue
        received, sent = columns[0], columns[8]
        if received is not None and sent is not None:
            found[_printable(name.strip())] = Traffic(received, sent)
    return found


def parse_mounts(text: str) -> list[Mounted]:
    """/proc/self/mountinfo, proc(5); spaces in paths arrive as \\040."""
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if separator and len(left) >= 6 and len(right) >= 2:
            found.append(Mounted(left[2], _unescape(left[4]), right[0], _unescape(right[1])))
    return found


def parse_local_kinds(text: str) -> set[str]:
    """/proc/filesystems: the kinds that live on a device ("nodev" marks the others)."""
    return {line.strip() for line in text.splitlines() if line.startswith("\t") and line.strip()}


def parse_process(text: str) -> tuple[str, list[str]] | None:
    """/proc/PID/stat: the name and the columns from "state" on. A name may hold spaces and parentheses itself."""
    before, parenthesis, after = text.rpartition(")")
    _, opened, name = before.partition("(")
    columns = after.split()
    return (_printable(name), columns) if parenthesis and opened and len(columns) >= 22 else None


def parse_uid(text: str) -> int | None:
    """/proc/PID/status: the effective user id."""
    for line in text.splitlines():
        if line.startswith("Uid:"):
            words = line.split()
            return _integer(words[2]) if len(words) >= 3 else None
    return None


def parse_key_values(text: str) -> dict[str, str]:
    """os-release(5): NAME=value or NAME="value"."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): _printable(value.strip().strip("\"'")) for name, _, value in pairs}


class Machine:
    """Reads the files. `proc`, `sys` and `etc` are where they lie; tests give their own trees.

    >>> Machine().memory().total > 0
    True
    """

    def __init__(self, proc: str | Path = "/proc", sys: str | Path = "/sys", etc: str | Path = "/etc") -> None:
        self.proc = Path(proc)
        self.sys = Path(sys)
        self.etc = Path(etc)

    def cpu(self) -> dict[str, CpuTimes]:
        return parse_cpu(read(self.proc / "stat"))

    def memory(self) -> Memory:
        return parse_memory(read(self.proc / "meminfo")) or Memory(0, 0, 0, 0)

    def load(self) -> Load:
        return parse_load(read(self.proc / "loadavg")) or Load(0.0, 0.0, 0.0)

    def uptime(self) -> float:
        return parse_uptime(read(self.proc / "uptime")) or 0.0

    def traffic(self) -> dict[str, Traffic]:
        """By interface, without the loopback and those that never carried a byte."""
        found = parse_traffic(read(self.proc / "net/dev"))
        return {name: traffic for name, traffic in found.items() if name != "lo" and (traffic.received or traffic.sent)}

    def disks(self) -> list[Disk]:
        """Mounted file systems that live on a device or are the root, each device once, at its shortest path.

        Network file systems are left out: asking a server that is away would hang the page.
        """
        kinds = parse_local_kinds(read(self.proc / "filesystems")) | {"zfs", "btrfs", "overlay"}
        kinds -= {"squashfs", "iso9660"}
        found: dict[str, Disk] = {}
        mounts = parse_mounts(read(self.proc / "self/mountinfo"))
        for mount in sorted(mounts, key=lambda mount: (len(mount.path), mount.path)):
            if mount.device in found or not (mount.kind in kinds or (mount.path == "/" and mount.kind != "rootfs")):
                continue
            disk = _disk(mount)
            if disk is not None:
                found[mount.device] = disk
        return list(found.values())

    def temperatures(self) -> list[Temperature]:
        """Thermal zones; where there are none, the sensors of hwmon. Of two with one name the second gets a number."""
        zones = [
            (read(zone / "type").strip() or zone.name, read(zone / "temp"))
            for zone in _entries(self.sys / "class/thermal", "thermal_zone*")
        ]
        if not zones:
            zones = [
                (
                    read(sensor.with_name(sensor.name.replace("_input", "_label"))).strip() or _sensor(sensor),
                    read(sensor),
                )
                for sensor in _entries(self.sys / "class/hwmon", "hwmon*/temp*_input")
            ]
        found: dict[str, Temperature] = {}
        for name, text in zones:
            thousandths = _decimal(text.strip())
            if thousandths is not None and -50_000 < thousandths < 250_000 and thousandths != 0:
                name = _unlike(_printable(name), found)
                found[name] = Temperature(name, thousandths / 1000)
        return list(found.values())

    def processes(self) -> list[Process]:
        """Every process that this user may see (the mount option hidepid hides those of others).

        Names are the kernel's short ones: command lines may hold what their owners would not put on a page.
        """
        try:
            pids = sorted(int(entry) for entry in os.listdir(self.proc) if _INTEGER.match(entry))
        except OSError:
            return []
        found = (self.process(pid) for pid in pids[:MAX_PROCESSES])
        return [process for process in found if process is not None]

    def process(self, pid: int) -> Process | None:
        """One process, or None where it has ended or is hidden."""
        parsed = parse_process(read(self.proc / str(pid) / "stat"))
        uid = parse_uid(read(self.proc / str(pid) / "status"))
        if parsed is None or uid is None:
            return None
        name, columns = parsed
        # proc(5) counts from 1 and columns[0] is its field 3: ppid 4, utime 14, stime 15, threads 20, start 22, rss 24.
        numbers = [_integer(columns[field - 3]) for field in (4, 14, 15, 20, 22, 24)]
        parent, user_ticks, system_ticks, threads, started, pages = (number or 0 for number in numbers)
        return Process(
            pid, parent, name, columns[0][:1], user_name(uid), uid, threads,
            user_ticks + system_ticks, started, pages * PAGE_BYTES,
        )  # fmt: skip

    def processor(self) -> str:
        """The processor's name as its maker writes it, or its architecture."""
        lines = read(self.proc / "cpuinfo").splitlines()
        for key in ("model name", "Model", "Hardware"):
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == key and value.strip():
                    return " ".join(_printable(value).split())
        return os.uname().machine

    def system(self) -> str:
        """The distribution's name."""
        return parse_key_values(read(self.etc / "os-release")).get("PRETTY_NAME", "Linux")


def read(path: Path, limit: int = MAX_FILE_BYTES) -> str:
    """The first `limit` bytes of a file as text; "" where it cannot be read."""
    try:
        with path.open("rb", buffering=0) as file:
            pieces = []
            while limit > 0 and (piece := file.read(min(limit, 65536))):
                pieces.append(piece)
                limit -= len(piece)
            return b"".join(pieces).decode("utf-8", "replace")
    except OSError:
        return ""


@functools.lru_cache(maxsize=1024)
def user_name(uid: int) -> str:
    """The user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _disk(mount: Mounted) -> Disk | None:
    try:
        counts = os.statvfs(mount.path)
    except OSError:
        return None
    unit = counts.f_frsize
    if not counts.f_blocks:
        return None
    used = (counts.f_blocks - counts.f_bfree) * unit
    return Disk(
        _printable(mount.path), _printable(mount.kind), _printable(mount.source),
        counts.f_blocks * unit, used, counts.f_bavail * unit,
    )  # fmt: skip


def _sensor(path: Path) -> str:
    chip = read(path.with_name("name")).strip() or path.parent.name
    return f"{chip} {path.name.removesuffix('_input')}"


def _unlike(name: str, taken: Container[str]) -> str:
    names = (name if number == 1 else f"{name} {number}" for number in itertools.count(1))
    return next(candidate for candidate in names if candidate not in taken)


def _entries(folder: Path, pattern: str, limit: int = 64) -> Iterator[Path]:
    try:
        yield from sorted(folder.glob(pattern))[:limit]
    except OSError:
        return


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _printable(text: str) -> str:
    """Control characters and lone surrogates become "�": the kernel lets a process name itself anything."""
    return "".join(character if character.isprintable() else "�" for character in text[:MAX_NAME_CHARACTERS])


def _integer(word: str) -> int | None:
    return int(word) if _INTEGER.match(word) else None


def _decimal(word: str) -> float | None:
    """A number as the kernel writes it; not "nan", "inf" or "1_0", which float() takes too."""
    return float(word) if re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", word) else None
