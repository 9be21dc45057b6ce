"""The demo's charts, remarks, parts and attempts, on made-up machines."""

from __future__ import annotations

import math
import os
import re
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/appliance"))

from appliance import attempts, charts, parts, places
from appliance.panels import add_attempts, add_parts
from appliance.parts import Part
from appliance.places import Place
from appliance.proc import Disk, Load, Machine, Memory, Temperature
from appliance.status import live
from appliance.status.health import remarks
from appliance.status.sampler import Figures, Sampler
from appliance.status.tables import Order, process_rows

from framework.xhtml import Document

GIB = 1 << 30
POINT = r"-?[0-9.]+(?:e[+-][0-9]+)? [0-9.]+"
PATH = re.compile(rf"(M{POINT}(L{POINT})+Z?)*")


class TestCharts:
    @given(
        st.lists(st.tuples(st.floats(0, 1e4), st.floats(-10, 1e15)), max_size=50),
        st.floats(0, 1e4),
        st.floats(0, 1e12),
    )
    def test_any_points_make_paths_within_the_picture(
        self, points: list[tuple[float, float]], now: float, top: float
    ) -> None:
        chart = charts.draw([sorted(points)], now, top, "words")
        assert PATH.fullmatch(chart.lines[0])
        assert PATH.fullmatch(chart.areas[0])
        for x, y in re.findall(r"[ML](-?[0-9.e+-]+) ([0-9.]+)", chart.lines[0]):
            assert -1 <= float(x) <= charts.WIDTH
            assert 0 <= float(y) <= charts.HEIGHT

    def test_a_time_without_looks_is_a_gap(self) -> None:
        chart = charts.draw([[(0, 1.0), (2, 1.0), (60, 1.0), (62, 1.0)]], 62, 100, "")
        assert chart.lines[0].count("M") == 2

    def test_what_is_too_old_is_left_out(self) -> None:
        assert charts.draw([[(0, 1.0)]], charts.SPAN_SECONDS + 1, 100, "").lines == ("",)

    @given(st.floats(0, 1e15))
    def test_the_scale_holds_the_value_and_is_not_far_above(self, value: float) -> None:
        top = charts.ceiling(value)
        assert value <= top <= max(1.0, value) * 11
        assert charts.ceiling(top) == top or math.isclose(charts.ceiling(top), top)


def figures(**changes: object) -> Figures:
    usual: dict[str, object] = {
        "time": 1.0, "cpu": 5.0, "cores": (5.0, 5.0), "memory": Memory(8 * GIB, 6 * GIB, 0, 0),
        "load": Load(0.1, 0.1, 0.1), "uptime": 100.0, "interfaces": (),
        "disks": (Disk("/", "ext4", "/dev/sda1", 10 * GIB, 5 * GIB, 5 * GIB),),
        "temperatures": (),
    }  # fmt: skip
    return Figures(**(usual | changes))  # type: ignore[arg-type]


class TestRemarks:
    def test_nothing_to_say(self) -> None:
        assert remarks(figures()) == []

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"memory": Memory(8 * GIB, GIB // 2, 0, 0)}, "Memory is 94 % used."),
            ({"disks": (Disk("/srv", "ext4", "d", 10 * GIB, 9 * GIB, GIB // 2),)}, "The disk at /srv is 95 % full."),
            ({"load": Load(0.0, 4.5, 0.0)}, "The load of the last five minutes is 4.5 on 2 processors."),
            ({"temperatures": (Temperature("cpu", 91.0),)}, "cpu is at 91 °C."),
        ],
    )
    def test_a_figure_beyond_its_limit(self, changes: dict[str, object], word: str) -> None:
        assert remarks(figures(**changes)) == [word]

    def test_a_root_only_reserve_counts_as_used(self) -> None:
        disk = Disk("/", "ext4", "d", total=100, used=80, free=2)
        assert "98 %" in remarks(figures(disks=(disk,)))[0]


class Processes:
    """A made-up /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, pid: int, parent: int, name: str, uid: int, *command: str) -> None:
        folder = self.root / str(pid)
        folder.mkdir()
        rest = f"S {parent} 1 1 0 -1 0 0 0 0 0 7 0 0 0 20 0 1 0 100 9999 256 0"
        (folder / "stat").write_text(f"{pid} ({name}) {rest}\n")
        (folder / "status").write_text(f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        (folder / "cmdline").write_text("\0".join(command or (name,)) + "\0")


def backend(name: str) -> tuple[str, ...]:
    return ("python", "-m", "framework.process.backend", name)


class TestParts:
    @pytest.fixture
    def machine(self, tmp_path: Path) -> tuple[Machine, Processes]:
        made = Processes(tmp_path)
        made.add(1, 0, "init", 0)
        made.add(10, 1, "python", 0, "python", "-m", "framework.cli", "run")
        made.add(11, 10, "lighttpd", 33)
        made.add(12, 10, "python", 998, *backend("notes"))
        made.add(13, 10, "python", 999, *backend("status"))
        made.add(99, 1, "sshd", 0)
        return Machine(tmp_path), made

    def test_the_supervisor_and_its_children(
        self, machine: tuple[Machine, Processes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getpid", lambda: 13)
        found = parts.find(machine[0])
        assert [(part.title, part.uid, part.here) for part in found] == [
            ("Supervisor", 0, False),
            ("Front end lighttpd", 33, False),
            ("Back end notes", 998, False),
            ("Back end status", 999, True),
        ]

    def test_seen_from_a_worker_process(
        self, machine: tuple[Machine, Processes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine[1].add(20, 12, "python", 998, *backend("notes"))
        monkeypatch.setattr(os, "getpid", lambda: 20)
        found = parts.find(machine[0])
        assert [part.title for part in found if part.here] == ["Back end notes"]
        assert len(found) == 4

    def test_started_by_init_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Processes(tmp_path)
        made.add(1, 0, "systemd", 0)
        made.add(13, 1, "python", 999, *backend("status"))
        monkeypatch.setattr(os, "getpid", lambda: 13)
        assert [part.title for part in parts.find(Machine(tmp_path))] == ["Back end status"]

    def test_where_other_users_are_hidden(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = Processes(tmp_path)
        made.add(13, 10, "python", 999, *backend("status"))
        monkeypatch.setattr(os, "getpid", lambda: 13)
        found = parts.find(Machine(tmp_path))
        assert [part.title for part in found] == ["Back end status"]
        page = Document(title="t")
        add_parts(page.body, found)
        assert "hidden" in str(page)

    @pytest.mark.parametrize(
        ("users", "words"),
        [
            ((0, 33, 998, 999), "Each part is a process of its own with a user of its own"),
            ((0, 0, 998, 998), "Parts with the same user are not separated from each other"),
            ((998, 998), "nothing separates them"),
        ],
    )
    def test_only_users_of_their_own_are_called_separated(self, users: tuple[int, ...], words: str) -> None:
        page = Document(title="t")
        add_parts(page.body, [Part(str(uid), "", "u", uid, pid, 0, here=False) for pid, uid in enumerate(users)])
        assert words in str(page)

    def test_on_a_machine_that_tells_nothing(self, tmp_path: Path) -> None:
        assert parts.find(Machine(tmp_path)) == []
        assert live.overview(Sampler(Machine(tmp_path, tmp_path, tmp_path))).texts["disk.note"] == "no disk found"


class TestAttempts:
    def test_what_is_open_is_told_and_left_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "notes.sqlite").write_text("x")
        (tmp_path / "s").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s" / "a"))
            listener.listen(1)
            made = attempts.make("notes", Place(tmp_path, os.getpid(), tmp_path / "s" / "a"), "notes.sqlite")
        verdicts = {attempt.what: attempt.allowed for attempt in made}
        assert verdicts["List the folder of notes"] is True
        assert verdicts["Read the database of notes"] is True
        assert verdicts["Write into the folder of notes"] is True
        assert verdicts["Connect to the socket of notes"] is True
        assert verdicts["Send a signal to notes"] is True
        assert sorted(os.listdir(tmp_path)) == ["notes.sqlite", "s"]
        page = Document(title="t")
        add_attempts(page.body, "status", made)
        assert "Allowed" in str(page)

    def test_what_is_not_there_is_neither_allowed_nor_refused(self, tmp_path: Path) -> None:
        made = attempts.make("notes", Place(tmp_path / "none", None, tmp_path / "none"))
        assert [attempt.allowed for attempt in made[:3]] == [None, None, None]

    def test_what_is_not_known_is_not_tried(self) -> None:
        made = attempts.make("notes", Place(None, None, None))
        assert {attempt.answer for attempt in made if attempt.target == "unknown"} == {
            "Not tried: where it lies is not known here."
        }


class TestPlaces:
    def test_own_socket_by_the_kernel_s_list(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "status.sock"))
            listener.listen(1)
            assert places.own_socket(Machine()) == tmp_path / "status.sock"

    @given(st.text())
    def test_no_list_of_sockets_makes_it_raise(self, text: str) -> None:
        places.parse_unix_sockets(text)

    def test_a_folder_that_others_can_enter_is_no_state_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("STATE_DIRECTORY", raising=False)
        tmp_path.chmod(0o755)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RuntimeError, match="sitectl"):
            places.state_directory()
        tmp_path.chmod(0o700)
        assert places.state_directory() == tmp_path

    def test_a_given_one_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
        assert places.state_directory() == tmp_path


def test_rows_of_processes_are_bounded_and_sorted() -> None:
    rows, count = process_rows(Sampler(Machine()), Order.PID, 5)
    assert len(rows) == min(5, count)
    pids = [int(row[1]) for row in rows]
    assert pids == sorted(pids)
