"""`sitectl metrics`: the status of a running site for Prometheus, printed or as a file for node_exporter."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from framework.cli import OK, PROBLEM, add_site_argument, load_site
from framework.cli.status import seconds

if TYPE_CHECKING:
    from framework.site import Site

HELP = """\
Print the metrics of a running site as Prometheus text: states, restarts, workers, requests, their times, memory, log.

With --output they go into a file, replaced as a whole, for node_exporter's textfile collector; with --every again and
again, until Ctrl-C or SIGTERM. Root may ask, and the members of the site file's control_group; these get no memory,
which the kernel shows to root alone. Where the site does not run, the exit status is 1; a file then says site_up 0.

examples:
  sudo sitectl metrics site.toml
  sitectl metrics site.toml --output /var/lib/prometheus/node-exporter/appliance.prom --every 15
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write this file instead of printing")
    parser.add_argument("--every", type=seconds, metavar="SECONDS", help="again and again")


def run(arguments: argparse.Namespace) -> int:
    site = load_site(arguments)
    status = OK
    while True:
        started = time.monotonic()
        text, status = _text(site)
        if arguments.output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            _write(arguments.output, text)
        if arguments.every is None:
            return status
        time.sleep(max(0.0, arguments.every - (time.monotonic() - started)))


def _text(site: Site) -> tuple[str, int]:
    from framework.process.control import ControlError, ask
    from framework.process.layout import control_path
    from framework.process.memory import add_memory
    from framework.process.metrics import text_of

    try:
        answer = ask(control_path(site), "status")
    except ControlError as error:
        print(f"sitectl: {error}", file=sys.stderr)
        down = "1 while the supervisor answers and does not stop."
        return f'# HELP site_up {down}\n# TYPE site_up gauge\nsite_up{{site="{site.name}"}} 0\n', PROBLEM
    add_memory(answer)
    return text_of(answer), OK


def _write(path: Path, text: str) -> None:
    """Replace the file, so that a collector reads the old text or the new one."""
    from framework.process.runfiles import write_file

    write_file(path, text.encode(), 0o644)
