"""Real front ends of Debian's packages before a fastcore server, for tests: each unprivileged, on a port of its own.

A front end is one entry of FRONT_ENDS: its program, its whole configuration as a function of the folder, and what it
cannot do. The lines about FastCGI (`essentials`) are those that docs/front-ends.md shows, with SOCKET for the path.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SOCKET = "/run/app.sock"  # in `essentials` and in the documentation: where the application listens
MODULES = "/usr/lib/apache2/modules"
SERVER = ["-m", "fastcore", "--bind", "fd:0", "--path", str(ROOT / "tests" / "support")]
BODY_LIMIT = 24_000_000
UNPRIVILEGED = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@dataclass(frozen=True)
class FrontEnd:
    """One way to configure one program.

    `header` is the longest request header in bytes that is tested, `streams_down` whether each piece of an answer
    arrives when made, `chunks` how many kB of a body without a length it takes, `restarts_posts` whether a restart
    behind it loses no POST either, `notices_leaving` whether an answer whose client has gone is ended, `tells_broken`
    whether its client sees that an answer without a Content-Length was broken off, `spawns` whether it starts the
    application by itself.
    """

    name: str
    program: str
    command: Callable[[Path], list[str]]
    essentials: str
    configuration: str
    header: int = 70_000
    streams_down: bool = True
    chunks: int = 100
    restarts_posts: bool = True
    notices_leaving: bool = True
    tells_broken: tuple[str, ...] = ("/late", "/late-big")
    spawns: bool = False

    def configure(self, folder: Path, port: int) -> str:
        """The configuration file's text; `@NAME@` is filled in."""
        essentials = self.essentials.replace(SOCKET, str(folder / "app.sock"))
        text = self.configuration.replace("@ESSENTIALS@", essentials)
        return text.replace("@PORT@", str(port)).replace("@RUN@", str(folder / "run")).replace("@MODULES@", MODULES)


class Site:
    """A front end and the fastcore server behind it, both running; everything in a temporary folder."""

    def __init__(
        self,
        front_end: FrontEnd,
        environment: Mapping[str, str],
        twin: str,
        interface: str = "native",
        body_limit: int = BODY_LIMIT,
        options: Sequence[str] = (),
    ) -> None:
        self.front_end = front_end
        self.interface = interface
        self._server = [*SERVER, "--interface", interface, "--limit", f"body={body_limit}", *options]
        self._server.append("applications:native" if interface == "native" else "applications:table")
        self.twin = twin
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fe-"))
        self.folder.chmod(0o755)
        self.shared = self.folder / "shared"  # where the application writes
        for directory in (self.folder / "run", self.shared):
            directory.mkdir()
            directory.chmod(0o777)
        self._log_path = self.folder / "log"
        self._environment = {**environment, "PYTHONPATH": str(ROOT)}
        self._listener = socket.socket(socket.AF_UNIX)
        self._process: subprocess.Popen[bytes] | None = None
        self.back_ends: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Site:
        path = self.folder / "app.sock"
        self._listener.bind(str(path))
        path.chmod(0o666)  # the folder is this test's own
        self._listener.listen(1024)
        try:
            if self.front_end.spawns:
                self._write_script()
            else:
                self.start_back_end()
            self._start_front_end()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        processes = [process for process in (self._process, *self.back_ends) if process is not None]
        for process in processes:
            stop(process)
        self._listener.close()
        shutil.rmtree(self.folder)

    @property
    def log(self) -> str:
        paths = [self._log_path, *(self.folder / "run").glob("error.log")]
        return "".join(path.read_text("utf-8", "replace") for path in paths)

    def start_back_end(self) -> subprocess.Popen[bytes]:
        """One more fastcore server on the same listener."""
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *self._server], stdin=self._listener, stdout=log, stderr=log, env=self._environment
            )
        self.back_ends.append(process)
        return process

    def _write_script(self) -> None:
        """What a front end runs that starts its applications by itself."""
        kept = ("FASTCORE_PURE", "FASTCORE_REQUIRE_COMPILED", "PYTHONPATH")
        lines = [f"export {name}='{self._environment[name]}'" for name in kept if name in self._environment]
        script = self.folder / "app.fcgi"
        script.write_text("\n".join(["#!/bin/sh", *lines, f"exec {sys.executable} {' '.join(self._server)}", ""]))
        script.chmod(0o755)

    def _start_front_end(self) -> None:
        file = self.folder / "configuration"
        file.write_text(self.front_end.configure(self.folder, self.port))
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.front_end.command(file),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder / "run",
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder / "run")},
                **UNPRIVILEGED,
            )
        deadline = time.monotonic() + 30
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.front_end.name} does not listen:\n{self.log}")
            time.sleep(0.02)

    def _is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# nginx

NGINX = """\
daemon off;
pid @RUN@/pid;
error_log stderr error;
worker_processes 1;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path @RUN@/body;
    fastcgi_temp_path @RUN@/fastcgi;
    proxy_temp_path @RUN@/proxy;
    uwsgi_temp_path @RUN@/uwsgi;
    scgi_temp_path @RUN@/scgi;
    fastcgi_max_temp_file_size 16m;
    client_max_body_size 100m;
    large_client_header_buffers 4 128k;
@ESSENTIALS@
}
"""

NGINX_CLOSING = """\
server {
    listen 127.0.0.1:@PORT@;
    location / {
        include /etc/nginx/fastcgi_params;
        fastcgi_split_path_info ^()(/.*)$;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_pass unix:/run/app.sock;
    }
}
"""

NGINX_KEPT = """\
upstream app {
    server unix:/run/app.sock;
    keepalive 8;
}
server {
    listen 127.0.0.1:@PORT@;
    location / {
        include /etc/nginx/fastcgi_params;
        fastcgi_split_path_info ^()(/.*)$;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_pass app;
        fastcgi_keep_conn on;
        fastcgi_buffering off;
        fastcgi_request_buffering off;
    }
}
"""


def nginx(file: Path) -> list[str]:
    return ["nginx", "-e", "stderr", "-c", str(file), "-p", str(file.parent / "run")]


# lighttpd

LIGHTTPD = """\
server.document-root = "@RUN@"
server.bind = "127.0.0.1"
server.port = @PORT@
server.upload-dirs = ("@RUN@")
server.max-request-field-size = 65535
server.modules = ("mod_fastcgi")
@ESSENTIALS@
"""

LIGHTTPD_BUFFERED = """\
fastcgi.server = ("/" => ((
    "socket" => "/run/app.sock",
    "check-local" => "disable",
    "fix-root-scriptname" => "enable"
)))
"""

LIGHTTPD_STREAMING = (
    LIGHTTPD_BUFFERED
    + """\
server.stream-response-body = 2
server.stream-request-body = 2
"""
)


def lighttpd(file: Path) -> list[str]:
    return ["lighttpd", "-D", "-f", str(file)]


# HAProxy

HAPROXY = """\
global
    maxconn 500
    tune.bufsize 65536
defaults
    mode http
    timeout connect 10s
    timeout client 30s
    timeout server 15s
frontend web
    bind 127.0.0.1:@PORT@
    default_backend app
@ESSENTIALS@
"""

HAPROXY_PLAIN = """\
fcgi-app python
    docroot /
    path-info ^()(/.*)$
backend app
    use-fcgi-app python
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    server one unix@/run/app.sock proto fcgi
"""

HAPROXY_MULTIPLEXED = """\
fcgi-app python
    docroot /
    path-info ^()(/.*)$
    option get-values
    option mpxs-conns
backend app
    use-fcgi-app python
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    http-reuse always
    server one unix@/run/app.sock proto fcgi
"""


def haproxy(file: Path) -> list[str]:
    return ["haproxy", "-db", "-f", str(file)]


# Apache: mod_proxy_fcgi, mod_fcgid

APACHE = """\
ServerRoot @RUN@
ServerName localhost
PidFile @RUN@/pid
DefaultRuntimeDir @RUN@
ErrorLog @RUN@/error.log
LogLevel error
Listen 127.0.0.1:@PORT@
DocumentRoot @RUN@
LimitRequestFieldSize 131072
LoadModule mpm_event_module @MODULES@/mod_mpm_event.so
StartServers 1
ThreadLimit 256
ThreadsPerChild 256
MaxRequestWorkers 256
LoadModule authz_core_module @MODULES@/mod_authz_core.so
@ESSENTIALS@
"""

APACHE_CLOSING = """\
LoadModule env_module @MODULES@/mod_env.so
SetEnv ap_trust_cgilike_cl yes
LoadModule proxy_module @MODULES@/mod_proxy.so
LoadModule proxy_fcgi_module @MODULES@/mod_proxy_fcgi.so
ProxyPass "/" "unix:/run/app.sock|fcgi://localhost/"
ProxyFCGISetEnvIf "true" PATH_INFO "%{reqenv:SCRIPT_NAME}"
ProxyFCGISetEnvIf "true" SCRIPT_NAME ""
"""

APACHE_KEPT = """\
LoadModule env_module @MODULES@/mod_env.so
SetEnv ap_trust_cgilike_cl yes
LoadModule proxy_module @MODULES@/mod_proxy.so
LoadModule proxy_fcgi_module @MODULES@/mod_proxy_fcgi.so
ProxyPass "/" "unix:/run/app.sock|fcgi://localhost/" enablereuse=on flushpackets=on
ProxyFCGISetEnvIf "true" PATH_INFO "%{reqenv:SCRIPT_NAME}"
ProxyFCGISetEnvIf "true" SCRIPT_NAME ""
"""

APACHE_FCGID = """\
LoadModule env_module @MODULES@/mod_env.so
SetEnv ap_trust_cgilike_cl yes
LoadModule alias_module @MODULES@/mod_alias.so
LoadModule fcgid_module @MODULES@/mod_fcgid.so
FcgidMaxRequestLen 104857600
FcgidOutputBufferSize 0
FcgidMaxProcesses 4
ScriptAlias "/" "@RUN@/../app.fcgi/"
<Location "/">
    SetHandler fcgid-script
    Options +ExecCGI
</Location>
"""

FCGID_PLACES = """\
FcgidIPCDir @RUN@/fcgid
FcgidProcessTableFile @RUN@/fcgid_shm
"""


def apache(file: Path) -> list[str]:
    return ["apache2", "-DFOREGROUND", "-f", str(file)]


# Caddy

CADDY = """\
{
    admin off
    auto_https off
}
@ESSENTIALS@
"""

CADDY_SITE = """\
http://:@PORT@ {
    bind 127.0.0.1
    reverse_proxy unix//run/app.sock {
        transport fastcgi
        flush_interval -1
    }
}
"""


def caddy(file: Path) -> list[str]:
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


# h2o

H2O = """\
listen:
  host: 127.0.0.1
  port: @PORT@
pid-file: @RUN@/pid
temp-buffer-path: @RUN@
limit-request-body: 104857600
@ESSENTIALS@
"""

H2O_CLOSING = """\
hosts:
  default:
    paths:
      "/":
        fastcgi.connect:
          port: /run/app.sock
          type: unix
"""


def h2o(file: Path) -> list[str]:
    return ["h2o", "-m", "worker", "-c", str(file)]


_ALL = (
    FrontEnd("nginx", "nginx", nginx, NGINX_CLOSING, NGINX, header=60_000, streams_down=False),
    FrontEnd("nginx-kept", "nginx", nginx, NGINX_KEPT, NGINX, header=60_000),
    FrontEnd(
        "lighttpd",
        "lighttpd",
        lighttpd,
        LIGHTTPD_BUFFERED,
        LIGHTTPD,
        header=60_000,
        streams_down=False,
        notices_leaving=False,
        tells_broken=(),
    ),
    FrontEnd(
        "lighttpd-streaming",
        "lighttpd",
        lighttpd,
        LIGHTTPD_STREAMING,
        LIGHTTPD,
        header=60_000,
        chunks=0,
        tells_broken=("/late-big",),
    ),
    FrontEnd("haproxy", "haproxy", haproxy, HAPROXY_PLAIN, HAPROXY, header=60_000, chunks=10),
    FrontEnd(
        "haproxy-multiplexed",
        "haproxy",
        haproxy,
        HAPROXY_MULTIPLEXED,
        HAPROXY,
        header=60_000,
        chunks=10,
        notices_leaving=False,
    ),
    FrontEnd("apache", "apache2", apache, APACHE_CLOSING, APACHE, header=16_000, streams_down=False),
    FrontEnd("apache-kept", "apache2", apache, APACHE_KEPT, APACHE, header=16_000, restarts_posts=False),
    FrontEnd("caddy", "caddy", caddy, CADDY_SITE, CADDY, header=60_000, chunks=0, tells_broken=()),
    FrontEnd("h2o", "h2o", h2o, H2O_CLOSING, H2O, tells_broken=()),
    FrontEnd(
        "fcgid", "apache2", apache, APACHE_FCGID, APACHE + FCGID_PLACES, header=16_000, spawns=True, tells_broken=()
    ),
)
FRONT_ENDS = {front_end.name: front_end for front_end in _ALL}
