"""`sitectl stop`: end a running site and wait until nothing of it is left."""

from __future__ import annotations

import argparse
import sys

from framework.cli import OK, PROBLEM, add_site_argument, load_site

HELP = """\
Stop a running site and wait until all of it has ended.

The web server takes no new requests, what is under way is finished, then everything ends.

examples:
  sudo sitectl stop site.toml
  sudo sitectl stop site.toml --wait 5
"""

DEFAULT_WAIT = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument(
        "--wait",
        type=float,
        default=DEFAULT_WAIT,
        metavar="SECONDS",
        help=f"how long to wait for the end (default: {DEFAULT_WAIT:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    from framework.process.control import ControlError, stop
    from framework.process.layout import for_caller

    site = for_caller(load_site(arguments))
    try:
        ended = stop(site.control_path, arguments.wait)
    except ControlError as error:
        print(f"sitectl: {error}", file=sys.stderr)
        return PROBLEM
    if not ended:
        print(f"sitectl: {site.name} is still stopping after {arguments.wait:g} s", file=sys.stderr)
        return PROBLEM
    print(f"{site.name} has stopped")
    return OK
