"""`sitectl systemd`: the site as systemd units, for machines where systemd is to start the back ends itself."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from framework.cli import OK, PROBLEM, add_listen_argument, add_site_argument, load_site

HELP = """\
Print systemd units that run the site without the supervisor: a socket and a service for each back end, the front end.

Each service has the sandbox that the site file declares, as directives, and gives its back end the same spec as the
supervisor does, so that it closes files and system calls by itself. Run it as root, after 'sitectl setup'. Nothing is
installed or started: with --output the files are written, without it they are printed.

examples:
  sudo sitectl systemd site.toml
  sudo sitectl systemd site.toml --output /etc/systemd/system
  sudo systemctl daemon-reload && sudo systemctl enable --now appliance.target
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    add_listen_argument(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="write the files here instead of printing them")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.parts import PartsError
    from framework.process.runfiles import write_file
    from framework.process.seccomp import SeccompError
    from framework.process.units import units_of

    site = load_site(arguments)
    if os.geteuid() != 0:
        print("sitectl: units are made by root: they say what each account may", file=sys.stderr)
        return PROBLEM
    folder = arguments.output.absolute() if arguments.output is not None else Path("/etc/systemd/system")
    try:
        files = units_of(site, str(folder))
    except (PartsError, SeccompError) as error:
        for line in str(error).splitlines():
            print(f"sitectl: {line}", file=sys.stderr)
        return PROBLEM
    if arguments.output is None:
        print("\n".join(f"# {'=' * 8} {name}\n{text}" for name, text in files.items()), end="")
        return OK
    for name, text in files.items():
        write_file(folder / name, text.encode(), 0o644)
        print(folder / name)
    return OK
