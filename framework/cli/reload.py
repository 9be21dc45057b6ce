"""`sitectl reload`: new code and a changed site file for a running site, without losing a request."""

from __future__ import annotations

import argparse
import sys

from framework.cli import OK, PROBLEM, add_site_argument, load_site

HELP = """\
Bring new code and a changed site file into a running site, without losing a request.

A new generation of the back ends is started beside the running one, on the same sockets. When all of it serves, the
web server gets its new configuration and the old generation finishes what it has begun. Where one does not come up,
or the web server refuses the configuration, nothing changes: the reason is shown, and the old generation stays.

examples:
  sudo sitectl reload site.toml
  sudo sitectl reload site.toml status       this back end only, and what the site file says of it
"""

DEFAULT_WAIT = 90.0


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("backends", nargs="*", metavar="BACKEND", help="only these back ends (default: all)")
    parser.add_argument(
        "--wait",
        type=float,
        default=DEFAULT_WAIT,
        metavar="SECONDS",
        help=f"how long to wait for the end (default: {DEFAULT_WAIT:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    from framework.process.control import ControlError, reload
    from framework.process.layout import for_caller

    site = for_caller(load_site(arguments))
    try:
        answer = reload(site.control_path, arguments.backends, arguments.wait)
    except ControlError as error:
        print(f"sitectl: not reloaded, the running generation stays:\n{error}", file=sys.stderr)
        return PROBLEM
    also = f", {site.frontend} has its new configuration" if answer.get("frontend") else ""
    print(f"{site.name}: reloaded {', '.join(answer['backends'])}{also}")
    if answer.get("waiting"):
        waiting = ", ".join(answer["waiting"])
        print(f"changed too, and waiting for a reload of the whole site, without names: {waiting}")
    return OK
