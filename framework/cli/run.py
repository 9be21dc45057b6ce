"""`sitectl run`: start the whole site in the foreground, watch it, and stop it without leaving anything behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

from framework.cli import PROBLEM, add_listen_argument, add_site_argument, load_site

if TYPE_CHECKING:
    import argparse

    from framework.site import Site

HELP = """\
Start the site: the web server and every back end, each as its own user.

Runs in the foreground; Ctrl-C or 'sitectl stop' ends it, a second Ctrl-C at once. What dies is started again. 'sitectl
reload', or SIGHUP where there is no terminal, brings in new code and a changed site file without losing a request.
Under systemd it is a service of Type=notify.

examples:
  sudo sitectl run site.toml
  sudo sitectl run site.toml --listen 127.0.0.1:9000
  sitectl run site.toml                without root: everything as you, nothing protected from another
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    add_listen_argument(parser)


def plain(words: Sequence[str]) -> SimpleNamespace | None:
    """The arguments where there is the site alone: argparse would cost the supervisor 0.9 MB as long as it runs."""
    if len(words) > 1 or any(word.startswith("-") for word in words):
        return None
    return SimpleNamespace(site=words[0] if words else "site.toml", listen=None)


def run(arguments: argparse.Namespace | SimpleNamespace) -> int:
    from framework.process.control import ControlError
    from framework.process.frontend import FrontendError
    from framework.process.launcher import LaunchError
    from framework.process.layout import for_caller, make_state_directories
    from framework.process.loading import LoadError, in_child
    from framework.process.logs import Output
    from framework.process.parts import PartsError
    from framework.process.privileges import PrivilegeError
    from framework.process.runfiles import RunError
    from framework.process.sinks import LogError, open_sink
    from framework.process.supervisor import Supervisor

    def read() -> Site:
        return in_child(lambda: for_caller(load_site(arguments)))

    try:
        site = read()
    except LoadError as error:
        print(f"sitectl: {error}", file=sys.stderr)
        return PROBLEM
    if os.geteuid() != 0:
        make_state_directories(site)
    sys.stdout.flush()
    try:
        output = Output(sink=open_sink(site.log, site.name))
        if site.log != "output":
            print(f"sitectl: the log of {site.name} goes to {output.where}", flush=True)
        return Supervisor(site, output, read).run()
    except (ControlError, LogError, PartsError, PrivilegeError, RunError, FrontendError, LaunchError) as error:
        for line in str(error).splitlines():
            print(f"sitectl: {line}", file=sys.stderr)
        return PROBLEM
