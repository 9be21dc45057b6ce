"""`sitectl dev`: the site for one developer, without root or web server, started again as its code changes."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from framework.cli import PROBLEM, add_listen_argument, add_site_argument, load_site

if TYPE_CHECKING:
    from framework.site.schema import Site

HELP = """\
Try the site as you, without root: a development gateway, reload on change, errors in the page.

What is different from 'sitectl run': everything runs as you (for root: as who called sudo, or nobody), so no part is
protected from another; an HTTP server in Python stands in for lighttpd; each back end has one worker; state is kept in
a temporary folder that is gone at the end, unless --state names one. A back end is started again when a Python file in
its path changes, the whole site when the site file does. Ctrl-C stops everything and leaves nothing.

examples:
  sitectl dev                                  ./site.toml
  sitectl dev site.toml --listen 127.0.0.1:9000
  sitectl dev site.toml --state ./state        keep what the back ends store
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    add_listen_argument(parser)
    parser.add_argument(
        "--state", metavar="FOLDER", help="keep the back ends' state here instead of a temporary folder"
    )


def run(arguments: argparse.Namespace) -> int:
    import asyncio
    import tempfile
    from pathlib import Path

    try:
        import uvicorn  # noqa: F401 - to say at once that it is missing
    except ImportError:
        print("sitectl dev needs the HTTP server uvicorn: pip install 'fastcore-fcgi[dev]'", file=sys.stderr)
        return PROBLEM
    from framework.process.development import Development, development_site, open_listener

    kept_state = Path(arguments.state).resolve() if arguments.state else None
    with tempfile.TemporaryDirectory(prefix="sitectl-") as folder:
        run_directory = Path(folder)
        run_directory.chmod(0o755 if os.geteuid() == 0 else 0o700)  # root's back ends run as another user

        def load() -> Site:
            return development_site(load_site(arguments), run_directory, kept_state or run_directory / "state")

        site = load()
        try:
            listener = open_listener(site)
        except OSError as error:
            print(f"sitectl: {site.listen}: {error.strerror}{_port_hint(error)}", file=sys.stderr)
            return PROBLEM
        with listener:
            return asyncio.run(Development(site, reload=load, kept_state=kept_state).serve(listener))


def _port_hint(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return ": ports below 1024 are root's; choose another with --listen 127.0.0.1:8080"
    return ": another program listens there, or it is no address of this machine; choose another with --listen"
