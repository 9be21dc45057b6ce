"""`sitectl remove`: the undo of `sitectl setup`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from framework.cli import OK, PROBLEM, add_site_argument, load_site

if TYPE_CHECKING:
    from framework.process.install import Step

HELP = """\
Remove the users, groups and directories that 'sitectl setup' has made.

Exactly those: what was there before setup stays. Directories are removed with what the back ends have stored in
them, after you have agreed.

examples:
  sitectl remove site.toml --dry-run    show what would be removed
  sudo sitectl remove site.toml
  sudo sitectl remove site.toml --yes   without asking
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the steps, change nothing")
    parser.add_argument("--yes", action="store_true", help="remove stored data too, without asking")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.accounts import AccountError
    from framework.process.install import InstallError, Record, removal_steps

    site = load_site(arguments)
    try:
        if site.control_path.exists() and _runs(str(site.control_path)):
            raise InstallError(f"site {site.name} is running: 'sitectl stop' first")
        record = Record.of(site)
        if not record:
            print(f"nothing to do: setup has made nothing for the site {site.name}")
            return OK
        steps = list(removal_steps(record))
        if arguments.dry_run:
            _tell(steps, "would remove")
            return OK
        if os.geteuid() != 0:
            raise InstallError("remove needs root, as setup did")
        if not arguments.yes and not _agreed(steps):
            return PROBLEM
        for step in steps:
            if not step.done:
                step.apply()
            _tell([step], "removed")
    except (AccountError, InstallError) as error:
        print(f"sitectl: {error}", file=sys.stderr)
        return PROBLEM
    return OK


def _runs(path: str) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _tell(steps: list[Step], word: str) -> None:
    for step in steps:
        note = f" ({step.note})" if step.note else ""
        print(f"{'left alone' if step.done else word:<14}{step.text}{note}")


def _agreed(steps: list[Step]) -> bool:
    data = [step for step in steps if step.destroys]
    if not data:
        return True
    for step in data:
        print(f"{step.text}: {step.note}, all of it would be gone", file=sys.stderr)
    if not sys.stdin.isatty():
        print("sitectl: nothing was removed; --yes removes stored data too", file=sys.stderr)
        return False
    print("remove it? type yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == "yes":
        return True
    print("sitectl: nothing was removed", file=sys.stderr)
    return False
