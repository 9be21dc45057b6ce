"""The web servers that can be a site's front end: how each is called, checked and ended. Nothing is started here."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastcore.values import dataclass

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["SERVERS", "Server"]


@dataclass(frozen=True, slots=True)
class Server:
    """One web server.

    name             of its program, of its module here, and in the site file
    package          of Debian that brings it
    minimum_version  the oldest that is known to take the generated configuration
    options          before the configuration file, to run in the foreground
    check_options    before the configuration file, to say whether it is good and end
    graceful_end     the signal after which it finishes its requests and ends
    graceful_reload  the signal after which it reads its configuration again
    forks            whether other processes than its own answer, which do not end when that one is killed
    """

    name: str
    package: str
    minimum_version: tuple[int, int, int]
    options: tuple[str, ...]
    check_options: tuple[str, ...]
    graceful_end: signal.Signals
    graceful_reload: signal.Signals
    forks: bool = False

    def command(self, program: str, file: Path) -> tuple[str, ...]:
        """To run `program` in the foreground."""
        return (program, *self.options, str(file))

    def check_command(self, program: str, file: Path) -> tuple[str, ...]:
        """To have `program` look at a configuration; status 0 and no output where it is good."""
        return (program, *self.check_options, str(file))

    def generate(
        self,
        site: Site,
        *,
        pid_file: Path | None = None,
        upload_directory: Path | None = None,
        certificates: Mapping[str, tuple[Path, Path]] | None = None,
        pages: str = "",
    ) -> str:
        """The configuration of a site; see the module of that name."""
        places = {"pid_file": pid_file, "upload_directory": upload_directory}
        if self.name == "nginx":
            from framework.frontends import nginx

            return nginx.generate(site, **places, certificates=certificates, pages=pages)
        from framework.frontends import lighttpd

        return lighttpd.generate(site, **places, certificates=certificates, pages=pages)


SERVERS: Final[Mapping[str, Server]] = {
    "lighttpd": Server("lighttpd", "lighttpd", (1, 4, 69), ("-D", "-f"), ("-tt", "-f"), signal.SIGINT, signal.SIGUSR1),
    "nginx": Server(
        "nginx",
        "nginx-light",
        (1, 22, 0),
        ("-e", "stderr", "-c"),
        ("-t", "-q", "-e", "stderr", "-c"),
        signal.SIGQUIT,
        signal.SIGHUP,
        forks=True,
    ),
}
"""By name, the default first."""
