"""`sitectl config SERVER`: the front end's configuration that `sitectl run` would use, to look at or to keep."""

from __future__ import annotations

import argparse
import sys

from framework.cli import OK, add_listen_argument, add_site_argument, load_site
from framework.site.loader import FRONTENDS

HELP = """\
Print the web server's configuration made from the site file.

examples:
  sitectl config lighttpd site.toml
  sitectl config lighttpd site.toml > lighttpd.conf && lighttpd -tt -f lighttpd.conf
  sitectl config nginx site.toml > nginx.conf && nginx -t -c $PWD/nginx.conf
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("frontend", choices=FRONTENDS, help="for which web server")
    add_site_argument(parser)
    add_listen_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from framework.frontends.servers import SERVERS

    site = load_site(arguments)
    sys.stdout.write(SERVERS[arguments.frontend].generate(site))
    return OK
