"""The start of one back end: what it is given as descriptors and variables, and the spec that tells what they are."""

from __future__ import annotations

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framework.process.child import Child
from framework.process.credentials import place as place_credentials
from framework.process.launcher import FIRST_LISTEN_FD, sealed_file
from framework.process.parts import OUTPUT_FD, SCOREBOARD_FD, URLS_FD, outputs_of
from framework.process.privileges import Privileges
from framework.process.runfiles import notify_directory
from framework.process.spec import spec_of

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["start_backend"]


def start_backend(child: Child, site: Site, listener: socket.socket, frontend: Privileges, table: Path) -> None:
    """Start the back end of `child` as `site` describes it, on its listener. Raises LaunchError, RunError and OSError.

    frontend  the rights of the front end, whose user alone may connect
    table     where its URL table goes
    """
    backend = site.backends[child.name]
    variables = {"NOTIFY_SOCKET": child.open_notify(notify_directory(site) / child.socket_name)}
    if backend.credentials:
        folder = place_credentials(site, backend, child.part.privileges)
        variables["CREDENTIALS_DIRECTORY"] = str(folder)
    with ExitStack() as ours:
        outputs = child.open_outputs(outputs_of(backend, child.part.privileges))
        for number in outputs:
            ours.callback(os.close, number)
        spec = _seal_spec(child, site, frontend, OUTPUT_FD if outputs else None)
        ours.callback(os.close, spec)
        table_end = child.expect_table(table)
        ours.callback(os.close, table_end)
        descriptors = {0: spec, FIRST_LISTEN_FD: listener.fileno(), URLS_FD: table_end}
        descriptors[SCOREBOARD_FD] = child.open_scoreboard(backend.workers)
        descriptors |= {OUTPUT_FD + index: number for index, number in enumerate(outputs)}
        child.start(child.part.launch(descriptors, (child.name,), variables))


def _seal_spec(child: Child, site: Site, frontend: Privileges, output_fd: int | None) -> int:
    privileges = child.part.privileges.to_spec()
    numbers: dict[str, Any] = {"urls_fd": URLS_FD, "scoreboard_fd": SCOREBOARD_FD, "output_fd": output_fd}
    spec = spec_of(site, child.name, allow_uids=(frontend.uid, os.geteuid()), privileges=privileges, **numbers)
    return sealed_file("spec", json.dumps(spec).encode())
