"""`sitectl setup`: make the users, groups and directories that a site names and the system lacks."""

from __future__ import annotations

import argparse
import os
import sys

from framework.cli import OK, PROBLEM, add_site_argument, load_site

HELP = """\
Make the system users, groups and directories of the site.

Only what is missing is made; run it again whenever the site file has changed. Every step is told. 'sitectl remove'
takes back exactly what was made here.

examples:
  sitectl setup site.toml --dry-run     show what would be made; needs no root
  sudo sitectl setup site.toml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the steps, change nothing")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.accounts import AccountError
    from framework.process.install import InstallError, Record, setup_steps

    site = load_site(arguments)
    if os.geteuid() != 0 and not arguments.dry_run:
        print("sitectl: setup makes users and directories of the system, so it needs root", file=sys.stderr)
        print("         without root: 'sitectl dev' or 'sitectl run' run everything as you", file=sys.stderr)
        return PROBLEM
    made = 0
    try:
        for step in setup_steps(site, Record.of(site)):
            if not step.done:
                made += 1
                if not arguments.dry_run:
                    step.apply()
            word = "exists" if step.done else "would make" if arguments.dry_run else "made"
            print(f"{word:<11}{step.text}" + (f" ({step.note})" if step.note else ""))
    except (AccountError, InstallError) as error:
        print(f"sitectl: {error}", file=sys.stderr)
        return PROBLEM
    if not made:
        print("nothing to do: all is there")
    return OK
