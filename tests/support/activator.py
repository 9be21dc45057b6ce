"""Plays systemd's part in socket activation (sd_listen_fds(3)): `activator.py FD,FD… NAMES COMMAND…`.

The inherited descriptors become 3, 4, … of the command, whose environment tells of them.
"""

from __future__ import annotations

import fcntl
import os
import sys


def main(fds: str, names: str, *command: str) -> None:
    high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in fds.split(",")]
    for number, fd in enumerate(high):
        os.dup2(fd, 3 + number, inheritable=True)
        os.close(fd)
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names}
    os.execvpe(command[0], command, os.environ | told)


if __name__ == "__main__":
    main(*sys.argv[1:])
