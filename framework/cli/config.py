"""`sitectl config lighttpd`: the front end's configuration that `sitectl run` would use, to look at or to keep."""

from __future__ import annotations

import argparse
import sys

from framework.cli import OK, add_listen_argument, add_site_argument, load_site

HELP = """\
Print the web server's configuration made from the site file.

examples:
  sitectl config lighttpd site.toml
  sitectl config lighttpd site.toml > lighttpd.conf && lighttpd -tt -f lighttpd.conf
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frontend", choices=["lighttpd"], help="for which web server")
    add_site_argument(parser)
    add_listen_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from framework.frontends import lighttpd

    site = load_site(arguments)
    sys.stdout.write(lighttpd.generate(site))
    return OK
