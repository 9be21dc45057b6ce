"""The demo's reading of /proc: odd kernels, odd names, processes that vanish, and any bytes at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/appliance"))

from appliance import proc, units
from appliance.proc import Machine
from appliance.status.sampler import MAX_POINTS, MIN_INTERVAL, Sampler


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def process_stat(pid: int, name: str, *, ticks: int = 12, started: int = 100) -> str:
    columns = [
        "S",
        "1",
        "1",
        "1",
        "0",
        "-1",
        "4194560",
        "9",
        "0",
        "0",
        "0",
        str(ticks),
        "0",
        "0",
        "0",
        "20",
        "0",
        "3",
        "0",
    ]
    return f"{pid} ({name}) {' '.join([*columns, str(started), '9999', '256', '18446744073709551615'])}\n"


class TestParsers:
    def test_cpu_of_all_and_of_each(self) -> None:
        text = "cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 5 0 5 40 0 0 0 0 0 0\nintr 123 4\nctxt 5\n"
        assert proc.parse_cpu(text) == {"cpu": proc.CpuTimes(20, 100), "cpu0": proc.CpuTimes(10, 50)}

    def test_waiting_for_a_disk_is_not_busy(self) -> None:
        assert proc.parse_cpu("cpu 10 0 10 60 20 0 0 0")["cpu"] == proc.CpuTimes(20, 100)

    def test_guests_are_not_counted_twice(self) -> None:
        assert proc.parse_cpu("cpu 50 0 0 50 0 0 0 0 50 0")["cpu"] == proc.CpuTimes(50, 100)

    def test_kernel_2_4_has_four_columns(self) -> None:
        assert proc.parse_cpu("cpu 1 2 3 4")["cpu"] == proc.CpuTimes(6, 10)

    def test_memory(self) -> None:
        memory = proc.parse_memory(
            "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\n"
        )
        assert memory is not None
        assert (memory.total, memory.used, memory.swap_used) == (1000 * 1024, 600 * 1024, 6 * 1024)

    def test_memory_of_a_kernel_that_does_not_tell_what_is_available(self) -> None:
        memory = proc.parse_memory("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 150 kB\n")
        assert memory is not None
        assert memory.available == 300 * 1024

    def test_traffic_with_the_number_right_behind_the_colon_and_an_alias(self) -> None:
        text = (
            "Inter-|   Receive   |  Transmit\n face |bytes packets|bytes packets\n"
            "  eth0:1234 5 0 0 0 0 0 0 99 1 0 0 0 0 0 0\neth0:1: 7 1 0 0 0 0 0 0 8 1 0 0 0 0 0 0\n"
        )
        assert proc.parse_traffic(text) == {"eth0": proc.Traffic(1234, 99), "eth0:1": proc.Traffic(7, 8)}

    def test_mount_point_with_a_space_and_optional_fields(self) -> None:
        (mount,) = proc.parse_mounts("36 35 98:0 /a /mnt/my\\040disk rw shared:1 master:2 - ext4 /dev/sda1 rw\n")
        assert mount == proc.Mounted("98:0", "/mnt/my disk", "ext4", "/dev/sda1")

    @pytest.mark.parametrize("name", ["sh", "a b", ") R 1 (", "((", "tmux: server", "x) S 2 3 4"])
    def test_process_names_may_hold_anything(self, name: str) -> None:
        parsed = proc.parse_process(process_stat(7, name))
        assert parsed is not None
        assert parsed[0] == name
        assert parsed[1][0] == "S"

    def test_a_process_that_names_itself_with_an_escape_sequence(self) -> None:
        parsed = proc.parse_process(process_stat(7, "\x1b[2J\x07"))
        assert parsed is not None
        assert parsed[0] == "�[2J�"

    def test_effective_user(self) -> None:
        assert proc.parse_uid("Name:\tsu\nUid:\t1000\t0\t0\t0\nGid:\t1 2 3 4\n") == 0

    @pytest.mark.parametrize("word", ["nan", "inf", "1_0", "x", "-", "1e5"])
    def test_no_number(self, word: str) -> None:
        assert proc.parse_uptime(f"{word} 5.0") is None

    @given(st.text() | st.text(alphabet="cpu0123456789 :\n\t()-|\\ MemTotalUid:kB", max_size=300))
    def test_no_text_makes_a_parser_raise(self, text: str) -> None:
        for name in (
            "cpu",
            "memory",
            "load",
            "uptime",
            "traffic",
            "mounts",
            "local_kinds",
            "process",
            "uid",
            "key_values",
        ):
            getattr(proc, f"parse_{name}")(text)


class TestMachine:
    def test_this_machine(self) -> None:
        machine = Machine()
        assert machine.cpu()["cpu"].total > 0
        assert 0 < machine.memory().used < machine.memory().total
        assert machine.uptime() > 0
        assert any(disk.path == "/" for disk in machine.disks())
        mine = machine.process(os.getpid())
        assert mine is not None
        assert (mine.uid, mine.parent) == (os.geteuid(), os.getppid())
        assert mine.memory > 1 << 20

    def test_a_machine_that_tells_nothing(self, tmp_path: Path) -> None:
        machine = Machine(tmp_path / "no", tmp_path / "no", tmp_path / "no")
        assert machine.cpu() == {}
        assert machine.memory().total == 0
        assert (machine.disks(), machine.processes(), machine.temperatures()) == ([], [], [])
        figures = Sampler(machine).figures()
        assert (figures.cpu, figures.memory_share, figures.cores) == (0.0, 0.0, ())

    def test_a_process_that_ends_while_it_is_read(self, tmp_path: Path) -> None:
        write(
            tmp_path,
            **{"7__stat": process_stat(7, "stays"), "7__status": "Uid:\t0\t0\t0\t0\n", "8__stat": "", "9__status": "x"},
        )
        (tmp_path / "10").mkdir()
        assert [process.name for process in Machine(tmp_path).processes()] == ["stays"]

    def test_a_file_that_never_ends_is_read_up_to_the_limit(self) -> None:
        assert len(proc.read(Path("/dev/zero"), 100_000)) == 100_000

    def test_temperatures_of_zones_and_of_chips(self, tmp_path: Path) -> None:
        write(
            tmp_path, class__thermal__thermal_zone0__type="cpu-thermal\n", class__thermal__thermal_zone0__temp="41234\n"
        )
        assert Machine(sys=tmp_path).temperatures() == [proc.Temperature("cpu-thermal", 41.234)]
        write(tmp_path / "b", class__hwmon__hwmon0__name="k10temp\n", class__hwmon__hwmon0__temp1_input="50500\n")
        write(tmp_path / "b", class__hwmon__hwmon0__temp2_input="61000\n", class__hwmon__hwmon0__temp2_label="Tctl\n")
        found = Machine(sys=tmp_path / "b").temperatures()
        assert [(sensor.name, sensor.celsius) for sensor in found] == [("k10temp temp1", 50.5), ("Tctl", 61.0)]

    def test_two_sensors_of_one_name(self, tmp_path: Path) -> None:
        for zone in ("thermal_zone0", "thermal_zone1"):
            write(tmp_path, **{f"class__thermal__{zone}__type": "acpitz", f"class__thermal__{zone}__temp": "30000"})
        assert [sensor.name for sensor in Machine(sys=tmp_path).temperatures()] == ["acpitz", "acpitz 2"]

    @pytest.mark.parametrize("text", ["", "N/A\n", "0\n", "-274000\n", "9999999\n", "4.1e4"])
    def test_a_sensor_that_is_not_there(self, tmp_path: Path, text: str) -> None:
        write(tmp_path, class__thermal__thermal_zone0__type="acpitz\n", class__thermal__thermal_zone0__temp=text)
        assert Machine(sys=tmp_path).temperatures() == []


class TestSampler:
    class Clock:
        now = 1000.0

        def __call__(self) -> float:
            return self.now

    def sampler(self, root: Path) -> tuple[Sampler, Clock]:
        self.counters(root, busy=50, received=0)
        write(
            root, uptime="100.0 50.0", loadavg="0.5 0.4 0.3 1/2 3", meminfo="MemTotal: 1000 kB\nMemAvailable: 750 kB\n"
        )
        clock = self.Clock()
        return Sampler(Machine(root, root, root), clock), clock

    def counters(self, root: Path, *, busy: int, received: int) -> None:
        write(root, stat=f"cpu {busy} 0 0 50\n", net__dev=f"eth0: {received} 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n")

    def test_rates_are_those_between_two_looks(self, tmp_path: Path) -> None:
        sampler, clock = self.sampler(tmp_path)
        assert sampler.figures().cpu == 50.0
        clock.now += 2
        self.counters(tmp_path, busy=150, received=4096)
        figures = sampler.figures()
        assert figures.cpu == 100.0
        assert figures.interfaces[0].received_rate == 2048.0
        assert figures.memory_share == 25.0

    def test_one_look_serves_all_who_ask_at_once(self, tmp_path: Path) -> None:
        sampler, clock = self.sampler(tmp_path)
        first = sampler.figures()
        clock.now += MIN_INTERVAL / 2
        assert sampler.figures() is first
        clock.now += MIN_INTERVAL
        sampler.figures()
        clock.now += MIN_INTERVAL / 2
        sampler.figures()
        assert len(sampler.points()) == 1

    def test_counters_that_went_back(self, tmp_path: Path) -> None:
        sampler, clock = self.sampler(tmp_path)
        self.counters(tmp_path, busy=10_000, received=1 << 30)
        clock.now += 2
        sampler.figures()
        self.counters(tmp_path, busy=50, received=3)
        clock.now += 2
        figures = sampler.figures()
        assert figures.cpu == 50.0
        assert figures.interfaces[0].received_rate == 0.0

    def test_points_do_not_pile_up(self, tmp_path: Path) -> None:
        sampler, clock = self.sampler(tmp_path)
        for _ in range(MAX_POINTS + 10):
            clock.now += 1
            sampler.figures()
        assert len(sampler.points()) == MAX_POINTS

    def test_a_process_and_its_successor_with_the_same_number(self, tmp_path: Path) -> None:
        sampler, clock = self.sampler(tmp_path)
        write(tmp_path, **{"7__stat": process_stat(7, "old", ticks=5000), "7__status": "Uid:\t0\t0\t0\t0\n"})
        sampler.running()
        clock.now += 10
        write(tmp_path, **{"7__stat": process_stat(7, "old", ticks=5000 + 5 * proc.TICKS_PER_SECOND)})
        assert sampler.running()[0].cpu == 50.0
        clock.now += 10
        write(tmp_path, **{"7__stat": process_stat(7, "new", ticks=0, started=9000)})
        assert sampler.running()[0].cpu == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (86400 * 3 + 3600 * 4 + 5, "3 d 4 h"), (-5, "0 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KiB"), (1023.9 * 1024, "1.0 MiB"), (1 << 62, "4096 PiB")],
)
def test_sizes(count: float, text: str) -> None:
    assert units.size(count) == text
