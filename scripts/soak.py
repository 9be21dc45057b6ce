"""Every fault of tests/support/faults.py, again and again for SECONDS: prints the table, writes docs/faults.md (root).

.venv/bin/python scripts/soak.py 900
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support")]

from faults import FAIL_OTHERS, TITLES, Faults, Row, movable_clock  # noqa: E402
from leftovers import adopt_orphans, descendants, machine_state, take_live_lock  # noqa: E402
from running_site import RunningSite, discard, open_folder  # noqa: E402

DOCUMENT = ROOT / "docs" / "faults.md"
RELOADS = 20

TEXT = """\
# Faults

What befalls a site, and what comes of it, measured by `make soak` ({seconds:.0f} s, {rounds} rounds, {machine}).
A site of lighttpd and two back ends of two workers each, *victim* and *other*. Three clients ask all the time for what
takes 20 ms, each request on a new connection. What befalls, befalls the victim, unless the fault says otherwise.
`make test` does each once.

{table}

*failed* counts requests that were not answered by 200, those of the victim and those of the other. *without an answer*
is the longest time in which no request of the victim was answered by 200, so the time to recover, and *longest* the
longest that a request took, both the worst of all rounds. *left* counts processes of the back ends' users that no part
knows, files in their folders, and descriptors of the supervisor, when all was well again.

* A request that a killed worker has is lost (500): it may have been carried out, so nobody repeats it. Others wait in
  the socket, which stays while a back end is started again. While the front end or the supervisor is away, connections
  are refused.
* A full disk loses lines of the log, which are counted and told, and answers long bodies with 507; short ones stay in
  memory.
* Limits (`limits = {{ open_files, processes, address_space }}`) end what a back end can take from the others.
* A clock that jumps changes the time that a log line shows and nothing else: every deadline is of the monotonic clock
  (tests/unit/test_clocks.py looks for others).
"""


def main(seconds: float) -> int:
    adopt_orphans()
    rows = {name: Row(title) for name, title in TITLES.items()}
    left: list[str] = []
    took, rounds = 0.0, 0
    while took < seconds:
        lock = take_live_lock()  # for one round: others may want to test
        begun = time.monotonic()
        left += one_round(rows)
        took += time.monotonic() - begun
        rounds += 1
        lock.close()
        where = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
        DOCUMENT.write_text(TEXT.format(seconds=took, rounds=rounds, machine=where, table=table_of(rows)))
        time.sleep(1)
    print(f"\n{table_of(rows)}\nleft on the machine: {', '.join(left) or 'nothing'}")
    bad = [name for name, row in rows.items() if row.left or (row.others and name not in FAIL_OTHERS)]
    print(f"not as it should be: {', '.join(bad)}" if bad or left else "all is as it should be")
    return 1 if bad or left else 0


def one_round(rows: dict[str, Row]) -> list[str]:
    """A site with all its faults; what of it is left on the machine when it has been removed."""
    machine = machine_state()
    folder = open_folder(Path())
    try:
        with Faults(RunningSite(folder, environment=movable_clock(folder))).running() as faults:
            faults.do_reload = lambda load: faults.reloads(RELOADS)  # type: ignore[method-assign]
            for name in TITLES:
                row = faults.run(name)
                print(told(row), flush=True)
                rows[name].add(row)
    finally:
        discard(folder)
    processes = [process.command for process in descendants(os.getpid()).values() if process.state != "Z"]
    return [*processes, *sorted(machine_state() - machine)]


def told(row: Row) -> str:
    left = f", left: {'; '.join(row.left)}" if row.left else ""
    counts = f"{row.failed} and {row.others} of {row.requests} failed"
    return (
        f"{row.name}: {counts}, without an answer {row.without:.2f} s, longest {row.longest:.2f} s{left} ({row.remark})"
    )


def table_of(rows: dict[str, Row]) -> str:
    lines = [
        "| fault | times | requests | failed: victim | other | without an answer | longest | left | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.times} | {row.requests} | {row.failed} | {row.others} | {row.without:.2f} s "
        f"| {row.longest:.2f} s | {len(row.left)} | {row.remark} |"
        for row in rows.values()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 900.0))
