"""Free TCP ports for the servers that tests start."""

from __future__ import annotations

import errno
import random
import socket

FIRST, LAST = 20_000, 32_000  # below those that Linux gives to outgoing connections (ip(7), ip_local_port_range)


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens, at random: no outgoing connection and hardly another test takes it meanwhile."""
    for _ in range(1000):
        port = random.SystemRandom().randint(FIRST, LAST)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise AssertionError("no free port")
