"""`sitectl types`: TypeScript declarations of the remote functions of a site."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from framework.cli import OK, PROBLEM, add_site_argument, load_site

HELP = """\
Write TypeScript declarations of all remote functions.

For each proxy a file BACKEND.d.ts, or BACKEND-NAME.d.ts where a back end has several; the same text is served beside
the module, at its path + /proxy.d.ts. Each application is imported for that, by a process of its own that runs as
the back end's user (without root, as you). Exit status 1 where an application cannot be imported.

examples:
  sitectl types site.toml                    all of them on standard output
  sitectl types site.toml --into web/types   one file each
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--into", metavar="FOLDER", type=Path, help="write files into this folder")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.describe import proxy_types
    from framework.process.layout import for_caller

    site = for_caller(load_site(arguments))
    status = OK
    for backend, rows in proxy_types(site).items():
        if isinstance(rows, str):
            print(f"sitectl: back end {backend}: {rows}", file=sys.stderr)
            status = PROBLEM
            continue
        for number, row in enumerate(rows, 1):
            more = re.sub(r"[^A-Za-z0-9_]", "", row["name"] or "") or str(number)
            name = f"{backend}-{more}.d.ts" if len(rows) > 1 else f"{backend}.d.ts"
            if arguments.into is None:
                print(f"// {name}: {row['pattern']} of back end {backend}\n{row['handler']}")
            else:
                arguments.into.mkdir(parents=True, exist_ok=True)
                (arguments.into / name).write_text(row["handler"], encoding="utf-8")
                print(arguments.into / name)
    return status
