"""Every fault of tests/support/faults.py, again and again for SECONDS behind each front end; writes docs/faults.md.

.venv/bin/python scripts/soak.py 900
.venv/bin/python scripts/soak.py 900 nginx
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support")]

from faults import FAIL_OTHERS, FRONT_ENDS, TITLES, Faults, Row, faults_of, movable_clock  # noqa: E402
from leftovers import adopt_orphans, descendants, machine_state, take_live_lock  # noqa: E402
from running_site import RunningSite, discard, open_folder  # noqa: E402

DOCUMENT = ROOT / "docs" / "faults.md"
RELOADS = 20

TEXT = """\
# Faults

What befalls a site, and what comes of it, measured by `make soak` ({machine}). A site of a front end and two back ends
of two workers each, *victim* and *other*. Three clients ask all the time for what takes 20 ms, each request on a new
connection. What befalls, befalls the victim, unless the fault says otherwise. `make test` does each once behind
lighttpd, and behind nginx those that the front end has a part in.

{tables}

*failed* counts requests that were not answered by 200, those of the victim and those of the other; *got* is what came
instead. *without an answer* is the longest time in which no request of the victim was answered by 200, so the time to
recover, and *longest* the longest that a request took, both the worst of all rounds. *left* counts processes of the
back ends' users that no part knows, files in their folders, and descriptors of the supervisor, when all was well again.

* A request that a killed worker has is lost: it may have been carried out, so nobody repeats it. lighttpd says 500 then
  (it had reached a back end), nginx 503 with the host's page for a back end that is down. Others wait in the socket,
  which stays while a back end is started again. While the front end or the supervisor is away, connections are refused.
* Neither front end keeps connections to a back end (nginx could), so behind both the same requests are in the hands of
  what is killed, and the next one goes to a process that lives.
* lighttpd is one process. nginx has a worker beside its main process: a killed worker costs the connections that it
  has, the main process starts another at once, and connections wait in its socket meanwhile; what a killed main
  process leaves is ended before the next one starts.
* A full disk loses lines of the log, which are counted and told, and answers long bodies with 507; short ones stay in
  memory.
* Limits (`limits = {{ open_files, processes, address_space }}`) end what a back end can take from the others.
* A clock that jumps changes the time that a log line shows and nothing else: every deadline is of the monotonic clock
  (tests/unit/test_clocks.py looks for others).
"""


class Run:
    """The rows of all rounds behind one front end."""

    def __init__(self, front_end: str) -> None:
        self.front_end = front_end
        self.rows = {name: Row(TITLES[name]) for name in faults_of(front_end)}
        self.seconds, self.rounds = 0.0, 0
        self.left: list[str] = []

    def round(self) -> None:
        """A site with all its faults, and what of it is left on the machine when it has been removed."""
        begun, machine = time.monotonic(), machine_state()
        folder = open_folder(Path())
        try:
            site = RunningSite(folder, environment=movable_clock(folder))
            with Faults(site, self.front_end).running() as faults:
                faults.do_reload = lambda load: faults.reloads(RELOADS)  # type: ignore[method-assign]
                for name, sum_of_rows in self.rows.items():
                    try:
                        row = faults.run(name)
                    except AssertionError as error:
                        print(f"{TITLES[name]}: {error}", flush=True)
                        sum_of_rows.add(Row(TITLES[name], 1, left=[str(error)]))
                        break
                    print(told(row), flush=True)
                    sum_of_rows.add(row)
        finally:
            discard(folder)
        processes = [process.command for process in descendants(os.getpid()).values() if process.state != "Z"]
        self.left += [*processes, *sorted(machine_state() - machine)]
        self.seconds += time.monotonic() - begun
        self.rounds += 1

    def bad(self) -> list[str]:
        rows = self.rows.items()
        return [name for name, row in rows if row.left or (row.others and name not in FAIL_OTHERS)]

    def section(self) -> str:
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        return f"## Behind {self.front_end}\n\n{self.seconds:.0f} s, {rounds}.\n\n{table_of(self.rows)}"


def main(seconds: float, front_ends: list[str]) -> int:
    adopt_orphans()
    runs = [Run(name) for name in front_ends or FRONT_ENDS]
    while waiting := [run for run in runs if run.seconds < seconds]:
        for run in waiting:
            lock = take_live_lock()  # for one round: others may want to test
            print(f"{time.strftime('%H:%M:%S')} {run.front_end}, round {run.rounds + 1}", flush=True)
            run.round()
            lock.close()
            write([run for run in runs if run.rounds])
            time.sleep(1)
    for run in runs:
        print(f"\n{run.section()}\nleft on the machine: {', '.join(run.left) or 'nothing'}")
        print(f"not as it should be: {', '.join(run.bad())}" if run.bad() or run.left else "all is as it should be")
    return 1 if any(run.bad() or run.left for run in runs) else 0


def write(runs: list[Run]) -> None:
    where = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    DOCUMENT.write_text(TEXT.format(machine=where, tables="\n\n".join(run.section() for run in runs)))


def told(row: Row) -> str:
    left = f", left: {'; '.join(row.left)}" if row.left else ""
    counts = f"{row.failed} and {row.others} of {row.requests} failed ({seen_of(row)})"
    return (
        f"{row.name}: {counts}, without an answer {row.without:.2f} s, longest {row.longest:.2f} s{left} ({row.remark})"
    )


def seen_of(row: Row) -> str:
    return ", ".join(f"{count} {what}" for what, count in row.seen.most_common())


def table_of(rows: dict[str, Row]) -> str:
    lines = [
        "| fault | times | requests | failed: victim | other | got | without an answer | longest | left | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.times} | {row.requests} | {row.failed} | {row.others} | {seen_of(row)} "
        f"| {row.without:.2f} s | {row.longest:.2f} s | {len(row.left)} | {row.remark} |"
        for row in rows.values()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    given = sys.argv[1:]
    raise SystemExit(main(float(given[0]) if given else 900.0, given[1:]))
