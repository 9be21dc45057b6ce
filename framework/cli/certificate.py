"""`sitectl certificate`: a self-signed certificate for a host, for development."""

from __future__ import annotations

import argparse
import os
import sys

from framework.cli import OK, PROBLEM, add_site_argument, load_site
from framework.site.tables import nearest

HELP = """\
Make a self-signed certificate for a host of the site, for development.

The files are those that the host's keys "certificate" and "key" name; files that are there are left alone. The key is
new, its file has mode 0600. Browsers warn of such a certificate until they are told to trust it.

examples:
  sudo sitectl certificate site.toml console.localhost
  sudo sitectl certificate site.toml console.localhost --days 30
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("host", help="the name of the host; its aliases come into the certificate too")
    parser.add_argument("--days", type=int, default=365, help="how long it is valid (default: 365)")


def run(arguments: argparse.Namespace) -> int:
    from framework.site.certificates import CertificateError, make_self_signed

    site = load_site(arguments)
    host = next((host for host in site.hosts if arguments.host.lower() in host.names), None)
    if host is None:
        hint = nearest(arguments.host, [host.name for host in site.hosts])
        print(f"sitectl: the site has no host {arguments.host!r}; {hint}", file=sys.stderr)
        return PROBLEM
    if host.certificate is None or host.key is None:
        hint = 'write certificate = "…" and key = "…": where they are to be'
        print(f"sitectl: host {host.name} has no certificate in the site file; {hint}", file=sys.stderr)
        return PROBLEM
    if not 1 <= arguments.days <= 3650:
        print("sitectl: --days is a number from 1 to 3650", file=sys.stderr)
        return PROBLEM
    try:
        make_self_signed(host.certificate, host.key, host.names, arguments.days)
    except (CertificateError, OSError) as error:
        hint = getattr(error, "hint", "")
        print(f"sitectl: {error}" + (f"; {hint}" if hint else ""), file=sys.stderr)
        return PROBLEM
    print(f"{os.fspath(host.certificate)}: for {', '.join(host.names)}, {arguments.days} days, signed by itself")
    print(f"{os.fspath(host.key)}: its key, mode 0600")
    return OK
