"""The site: what its file says, checked, as frozen dataclasses.

Every path is absolute, every name is of a safe character set, every reference between the parts holds:
`framework.site.load` sees to it, so nobody checks again. Nothing here reads a file or asks the system. Every key of the
file is described in docs/site.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastcore.values import dataclass, field
from framework.site.mounts import Mount
from framework.site.problems import Problem

__all__ = ["Backend", "Foreign", "Host", "Listen", "Mount", "Site"]


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the front end accepts HTTP: a numeric address (IPv6 without brackets) and a TCP port, 1 to 65535.

    tls  whether it speaks TLS there
    """

    address: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """True where only this machine can connect."""
        return self.address.startswith("127.") or self.address == "::1"


@dataclass(frozen=True, slots=True)
class Backend:
    """One application with an account of its own.

    name             lower-case letters, digits, "-" and "_"; names its socket, its log lines and its URL references
    application      "module:object", imported by a fresh interpreter that already runs as `user`
    prefix           where hosts mount it unless they say otherwise: "/status", or "" for the root of the host
    user, group      the account it runs as; never root, never the front end's
    groups           supplementary groups beside those that the account has
    working_directory where it starts; None for its own folder
    workers          processes that answer requests, 1 or more
    processes        "static": there all the time; "dynamic": as many as there is work for; "ondemand": from the first
                     connection until nobody asks any more
    min_workers      how many a "dynamic" back end has at least
    idle_exit        seconds without a request after which surplus workers end, and an "ondemand" back end as a whole
    path             folders put first on sys.path, absolute
    environment      the variables it gets beside the few of every back end
    state_directory  its own folder, mode 0700, owned by `user`
    health           path below its prefix that it asks of itself before it counts as ready; "" for none
    sandbox          whether the kernel keeps it from everything below that is not declared
    read, write      files and folders it may open beside its own, absolute
    execute          programs it may start, absolute
    network          whether it may use the internet's protocols; unix sockets it may always
    system_calls     sets (`framework.process.seccomp.SETS`) or single calls beside those of a service
    private_tmp      /tmp and /var/tmp of its own, in memory
    private_network  no network interface at all
    capabilities     names without "cap_": each a right of root
    nice             priority of its processes, 0 to 19
    umask            permission bits that its new files lack
    limits           resources of each of its processes (`values.RESOURCES`): numbers, sizes in bytes, seconds
    credentials      name → file with a secret, which it finds in CREDENTIALS_DIRECTORY
    request_timeout  seconds that one call into the application may take; 0 for no limit
    slow_request     milliseconds after which the stack of a call goes to the log; 0 for never
    max_memory       bytes of resident memory after which a worker is replaced; 0 for no limit
    max_requests     requests after which a worker is replaced; 0 for never
    log_rate         lines of output a second in the long run, ten times that at once; 0 for no limit
    robots           whether crawlers may index what it serves
    """

    name: str
    application: str
    prefix: str
    user: str
    group: str
    groups: tuple[str, ...] = ()
    working_directory: Path | None = None
    workers: int = 1
    processes: str = "static"
    min_workers: int = 1
    idle_exit: int = 60
    path: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    state_directory: Path = Path()
    health: str = ""
    sandbox: bool = True
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    execute: tuple[Path, ...] = ()
    network: bool = False
    system_calls: tuple[str, ...] = ()
    private_tmp: bool = False
    private_network: bool = False
    capabilities: tuple[str, ...] = ()
    nice: int = 0
    umask: int = 0o077
    limits: Mapping[str, int] = field(default_factory=dict)
    credentials: Mapping[str, Path] = field(default_factory=dict)
    request_timeout: int = 0
    slow_request: int = 0
    max_memory: int = 0
    max_requests: int = 0
    log_rate: int = 200
    robots: bool = True


@dataclass(frozen=True, slots=True)
class Foreign:
    """A back end that somebody else starts: a FastCGI application at an address.

    address  the path of a unix socket, or where it listens by TCP
    prefix   as of a `Backend`
    root     folder of its scripts, for PHP-FPM and its like: it is told which file to run, and nothing but files below
             this folder whose names end in `suffix` reaches it; None for an application that has all paths itself
    suffix   ".php"
    index    the script of a path that ends in "/"
    robots   as of a `Backend`
    """

    name: str
    address: Path | Listen
    prefix: str
    root: Path | None = None
    suffix: str = ".php"
    index: str = "index.php"
    robots: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """One virtual host.

    name           the name it goes by: lower case, no port; an IPv6 address stands in brackets
    aliases        more names it answers to; "*.example.org" is every name below example.org that no host has as it
                   is or by a longer wildcard
    default        True for exactly one host of a site: it answers requests for unknown names
    static         folder whose files are served below `static_prefix` by the front end; None for no such folder
    static_prefix  "/static", or "" where the folder is the root of the host
    static_max_age seconds for which a browser may use a static file without asking again
    mounts         the back ends; of two that fit a path the longer prefix wins
    home           path that "/" is redirected to where nothing is mounted there; "" for no redirect
    headers        response headers the front end sets on all answers of this host: the defaults with the host's changes
    certificate    PEM file with its certificate and those that lead to a root; None for a host without TLS
    key            PEM file with the private key of it
    https_redirect whether plain HTTP only leads to https
    hsts_max_age   seconds for which a browser that was here by https uses nothing else; 0 for not telling it
    redirect_aliases whether a request by an alias is led to the name
    compression    whether static text is compressed for who takes it
    unavailable    page for a back end that is down; None for the one that comes with this
    robots         whether crawlers may index it
    """

    name: str
    aliases: tuple[str, ...] = ()
    default: bool = False
    static: Path | None = None
    static_prefix: str = "/static"
    mounts: tuple[Mount, ...] = ()
    home: str = ""
    static_max_age: int = 300
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate: Path | None = None
    key: Path | None = None
    https_redirect: bool = False
    hsts_max_age: int = 0
    redirect_aliases: bool = False
    compression: bool = True
    unavailable: Path | None = None
    robots: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The name and all aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class Site:
    """A whole site. `load` makes it; `remarks` holds the warnings and notes that came up on the way.

    listen            the first address
    also_listen       the others
    backends          those that this site starts
    foreign           those that are started by somebody else; no name is in both
    max_request_size  bytes of a request's body that the front end accepts; larger ones are answered with 413
    log               where the log goes: "output", "journal" or an absolute path
    memory            bytes of PSS that all processes of the site may use before idle workers end; 0 for no budget
    control_group     whose members may ask for the status; "" for root alone
    development       True under `sitectl dev`: errors are shown in the browser
    """

    name: str
    file: Path
    listen: Listen
    frontend: str = "lighttpd"
    frontend_user: str = "www-data"
    frontend_group: str = "www-data"
    run_directory: Path = Path()
    state_directory: Path = Path()
    hosts: tuple[Host, ...] = ()
    backends: Mapping[str, Backend] = field(default_factory=dict)
    development: bool = False
    max_request_size: int = 16 * 1024 * 1024
    log: str = "output"
    memory: int = 0
    control_group: str = ""
    also_listen: tuple[Listen, ...] = ()
    foreign: Mapping[str, Foreign] = field(default_factory=dict)
    remarks: tuple[Problem, ...] = field(default=(), compare=False)

    @property
    def addresses(self) -> tuple[Listen, ...]:
        """All addresses."""
        return (self.listen, *self.also_listen)

    @property
    def tls_port(self) -> int:
        """The port of https URLs: 443 where it is one of them, else the first; 0 without TLS."""
        ports = [listen.port for listen in self.addresses if listen.tls]
        return 443 if 443 in ports else next(iter(ports), 0)

    @property
    def default_host(self) -> Host:
        """The host that answers for unknown names."""
        return next((host for host in self.hosts if host.default), self.hosts[0])

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """All mounts of all hosts, in file order."""
        return tuple(mount for host in self.hosts for mount in host.mounts)

    @property
    def sockets_directory(self) -> Path:
        """Folder of the back ends' sockets: root's, 0755."""
        return self.run_directory / "sockets"

    @property
    def urls_directory(self) -> Path:
        """Folder of the URL tables: root's, 0755; its files are 0644."""
        return self.run_directory / "urls"

    @property
    def frontend_directory(self) -> Path:
        """The front end's own folder (uploads on their way to a back end): 0700, owned by `frontend_user`."""
        return self.run_directory / "frontend"

    @property
    def frontend_configuration(self) -> Path:
        """The front end's generated configuration: root's, 0644."""
        return self.run_directory / f"{self.frontend}.conf"

    @property
    def frontend_draft(self) -> Path:
        """The next one, while the front end looks whether it takes it."""
        return self.run_directory / f"next-{self.frontend}.conf"

    @property
    def pid_path(self) -> Path:
        """The supervisor's pid file."""
        return self.run_directory / "supervisor.pid"

    @property
    def control_path(self) -> Path:
        """The supervisor's control socket."""
        return self.run_directory / "control.sock"

    @property
    def credentials_directory(self) -> Path:
        """Folder of the back ends' secrets, one folder for each: root's, 0711."""
        return self.run_directory / "credentials"

    @property
    def tls_directory(self) -> Path:
        """Folder of the front end's copies of certificates and keys: root's, 0750, group of the front end."""
        return self.run_directory / "tls"

    @property
    def pages_directory(self) -> Path:
        """Folder of the pages that are made for the front end: root's, 0755; its files are 0644."""
        return self.run_directory / "pages"

    def credentials_path(self, backend: str) -> Path:
        """The folder with the secrets of a back end: 0500, its user's."""
        return self.credentials_directory / backend

    def socket_path(self, backend: str) -> Path:
        """The unix socket of a back end.

        >>> site.socket_path("status")
        PosixPath('/run/appliance/sockets/status.sock')
        """
        return self.sockets_directory / f"{backend}.sock"

    def urls_path(self, backend: str) -> Path:
        """The file with the URL table of a back end."""
        return self.urls_directory / f"{backend}.json"
