"""Behind real web servers: processor time of the back end for a request, behind nginx (kept connections) and lighttpd.

The front end and the load generator share one processor, the back end has the other; the front end is what limits the
rate. What counts here is not the rate but what a request costs in the back end, user and system time of all its
processes.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from measuring import (
    Settings,
    by_rounds,
    describe,
    facts,
    generate,
    last_words,
    notes,
    processors,
    spread,
    start_all,
    told_rounds,
)
from peers import FRONTS, Peer
from servers import Program, Server
from toolchain import Missing, compile_program, tell

NAME = "frontends"
TITLES = {"nginx": "behind nginx", "lighttpd": "behind lighttpd"}

_NGINX = """\
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
    access_log off; keepalive_requests 1000000000; default_type application/octet-stream;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
{upstreams}
    server {{
        listen unix:{path};
{locations}
    }}
}}
"""
_NGINX_PARAMETERS = {
    "QUERY_STRING": "$query_string",
    "REQUEST_METHOD": "$request_method",
    "CONTENT_TYPE": "$content_type",
    "CONTENT_LENGTH": "$content_length",
    "REQUEST_URI": "$request_uri",
    "PATH_INFO": "$document_uri",
    "DOCUMENT_ROOT": "$document_root",
    "SERVER_PROTOCOL": "$server_protocol",
    "REQUEST_SCHEME": "$scheme",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "$remote_port",
    "SERVER_PORT": "$server_port",
    "SERVER_NAME": "$server_name",
}
_NGINX_FASTCGI = {
    "SCRIPT_NAME": "''",
    "DOCUMENT_URI": "$document_uri",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SERVER_SOFTWARE": "nginx/$nginx_version",
    "SERVER_ADDR": "$server_addr",
    "REDIRECT_STATUS": "200",
}
_LIGHTTPD = """\
server.bind = "{path}"
server.document-root = "{directory}"
server.modules = ( "mod_fastcgi", "mod_scgi", "mod_proxy" )
server.max-keep-alive-requests = 1000000000
server.errorlog = "{directory}/errors"
{locations}
"""


class FrontEnd(Program):
    """A web server with one path for each back end: `/NAME/`."""

    name = ""

    def __init__(self, backends: list[Server], processor: int | None) -> None:
        super().__init__(processor)
        self.backends = backends
        self.configuration = self.directory / "configuration"

    def command(self) -> list[str]:
        """The server with a configuration for these back ends. Raises Missing where there is no such server."""
        program = shutil.which(self.name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise Missing(f"{self.name} (Debian: apt-get install {self.name})")
        self.configuration.write_text(self.configure())
        return [program, *self.options()]

    def configure(self) -> str:
        """The text of its configuration."""
        raise NotImplementedError

    def options(self) -> list[str]:
        """Its command line."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """Name and version, as it tells them."""
        program = shutil.which(cls.name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            return cls.name
        told = subprocess.run([program, "-v"], capture_output=True, text=True)
        return f"{cls.name} {(told.stdout + told.stderr).partition('/')[2].split()[0]}"


class Nginx(FrontEnd):
    """nginx with one worker that keeps its connections to the back ends."""

    name = "nginx"

    def options(self) -> list[str]:
        """In the foreground, by this configuration."""
        return ["-c", str(self.configuration), "-p", str(self.directory)]

    def configure(self) -> str:
        """An upstream and a location for each back end."""
        upstreams = [
            f"    upstream {server.peer.name} {{ server {server.address}; keepalive 32; }}" for server in self.backends
        ]
        text = _NGINX.format(
            directory=self.directory,
            path=self.path,
            upstreams="\n".join(upstreams),
            locations="\n".join(map(self._location, self.backends)),
        )
        return f"user root;\n{text}" if os.geteuid() == 0 else text

    def _location(self, server: Server) -> str:
        name = server.peer.name
        match server.peer.protocol:
            case "fastcgi":
                lines = [f"fastcgi_pass {name};", "fastcgi_keep_conn on;"]
                parameters = {**_NGINX_PARAMETERS, **_NGINX_FASTCGI}
                lines += [f"fastcgi_param {key} {value};" for key, value in parameters.items()]
            case "uwsgi":
                lines = [f"uwsgi_pass {name};"]
                lines += [f"uwsgi_param {key} {value};" for key, value in _NGINX_PARAMETERS.items()]
            case _:
                lines = [f"proxy_pass http://{name};", "proxy_http_version 1.1;", "proxy_set_header Connection '';"]
                lines += ["proxy_set_header Host $host;"]
        return f"        location /{name}/ {{ {' '.join(lines)} }}"


class Lighttpd(FrontEnd):
    """lighttpd, which opens a connection for each request."""

    name = "lighttpd"

    def options(self) -> list[str]:
        """In the foreground, by this configuration."""
        return ["-D", "-f", str(self.configuration)]

    def configure(self) -> str:
        """A condition for each back end."""
        return _LIGHTTPD.format(
            directory=self.directory, path=self.path, locations="\n".join(map(self._location, self.backends))
        )

    def _location(self, server: Server) -> str:
        socket = f'"socket" => "{server.path}", "check-local" => "disable"'
        match server.peer.protocol:
            case "fastcgi":
                rule = f'fastcgi.server = ( "" => (( {socket} )) )'
            case "uwsgi":
                rule = f'scgi.protocol = "uwsgi" scgi.server = ( "" => (( {socket} )) )'
            case _:
                rule = f'proxy.server = ( "" => (( "socket" => "{server.path}" )) )'
        return f'$HTTP["url"] =^ "/{server.peer.name}/" {{ {rule} }}'


FRONT_ENDS: list[type[FrontEnd]] = [Nginx, Lighttpd]


def measure(settings: Settings) -> dict[str, Any]:
    """All back ends behind both front ends, in turns."""
    program = compile_program("httpload")
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
    versions = {kind.name: kind.version() for kind in FRONT_ENDS}
    with ExitStack() as stack:
        servers, missing = start_all(settings.chosen(FRONTS), stack)
        fronts = []
        for kind in FRONT_ENDS:
            tell(f"  starting {kind.name}")
            try:
                fronts.append(stack.enter_context(kind(servers, processors()[1])))
            except Missing as error:
                tell(f"    left out: {error}")
                missing[kind.name] = str(error)
        turns = settings.rounds * settings.turns
        for number in range(turns):
            tell(f"  turn {number + 1} of {turns}")
            cases = [(server, front) for server in servers for front in fronts]
            random.Random(number).shuffle(cases)
            for server, front in cases:
                found = measure_one(program, server, front, settings)
                measured.setdefault((server.peer.name, front.name), []).append(found)
                told = f"{found['cpu_us']:>7.1f} us of processor time at {found['requests_per_second']:>8,.0f}/s"
                tell(f"    {server.peer.name:26} behind {front.name:9} {told}  {found['first_error']}")
    rows = make_rows([server.peer for server in servers], measured, settings.turns)
    return {"missing": missing, "rows": rows, "versions": versions}


def measure_one(program: Path, server: Server, front: FrontEnd, settings: Settings) -> dict[str, Any]:
    """Requests through the front end: what the load generator tells, and the back end's time for one."""
    timing = ("-w", "0.02", "-t", str(settings.turn_seconds))
    command = [str(program), *timing, "-c", str(settings.connections), "-p", f"/{server.peer.name}/", front.address]
    found, used = generate(command, server)
    if not found:
        return {"requests_per_second": 0.0, "cpu_us": 0.0, "errors": 1, "first_error": last_words(front)}
    found["cpu_us"] = used * 1e6 / found["answered"] if found["answered"] else 0.0
    return found


def make_rows(
    peers: list[Peer], measured: dict[tuple[str, str], list[dict[str, Any]]], turns: int
) -> list[dict[str, Any]]:
    """A row for each back end: processor time, its spread, the rate; `turns` make a round."""
    rows = []
    for peer in peers:
        row: dict[str, Any] = describe(peer)
        row["note"] = ""
        found = [each for name in TITLES for each in measured.get((peer.name, name), ())]
        row["errors"] = sum(each["errors"] for each in found)
        row["first_error"] = next((each["first_error"] for each in found if each["first_error"]), "")
        for name in TITLES:
            every = measured.get((peer.name, name), [])
            row[name] = None
            if every and not any(each["errors"] for each in every):
                cpu = by_rounds([each["cpu_us"] for each in every], turns, lowest=True)
                rates = by_rounds([each["requests_per_second"] for each in every], turns)
                row[name] = {
                    "cpu_us": round(median(cpu), 2),
                    "spread": spread(cpu),
                    "requests_per_second": round(median(rates), 1),
                    "rounds": [round(each, 3) for each in cpu],
                }
        rows.append(row)
    return rows


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    heads = " | ".join(f"{title}: CPU µs | requests/s" for title in TITLES.values())
    lines = [f"| back end | {heads} |", "|---|" + "--:|" * 2 * len(TITLES)]
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        lines.append(f"| {name} | {' | '.join(_cells(row[front]) for front in TITLES)} |")
    settings = result["settings"]
    how = (
        f"{', '.join(result['versions'].values())}; {settings['connections']} HTTP connections, one worker, "
        f"{told_rounds(settings)}"
    )
    return "\n".join([*lines, "", facts(result, how), *notes(result)])


def _cells(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "– | –"
    return f"{summary['cpu_us']:.1f} ± {summary['spread'] * 100:.0f} % | {summary['requests_per_second']:,.0f}"
