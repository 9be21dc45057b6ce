"""flup's options: what they become, which warn, once and where, and which are refused."""

from __future__ import annotations

import inspect
import ipaddress
import os
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import flup
from fastcore.addresses import AddressError, FdAddress, TcpAddress, UnixAddress
from fastcore.flup import FlupOptionWarning, options
from fastcore.flup.server import fcgi, fcgi_fork, fcgi_single
from fastcore.flup.server.fcgi_base import FCGI_AUTHORIZER, FCGI_RESPONDER
from fastcore.limits import Limits

ROOT = Path(__file__).resolve().parents[2]
SERVERS = (fcgi.WSGIServer, fcgi_fork.WSGIServer, fcgi_single.WSGIServer)


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch):
    monkeypatch.setattr(options, "_told", set())


def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]


# Names and parameters


def test_the_import_paths_and_positions_are_flups():
    assert flup.WSGIServer is fcgi.WSGIServer
    common = ["bindAddress", "umask", "multiplexed", "debug", "roles", "forceCGI"]
    expected = {
        fcgi: ["application", "environ", "multithreaded", "multiprocess", *common, "options"],
        fcgi_fork: ["application", "environ", *common, "timeout", "options"],
        fcgi_single: ["application", "environ", *common, "options"],
    }
    for module, names in expected.items():
        assert list(inspect.signature(module.WSGIServer).parameters) == names


@pytest.mark.parametrize("server", SERVERS)
def test_what_has_a_meaning_does_not_warn(server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = server(
            application,
            {"NAME": "value"},
            bindAddress="/run/s",
            umask=0o117,
            multiplexed=True,
            debug=True,
            roles=(FCGI_RESPONDER,),
            forceCGI=False,
            allowedServers="127.0.0.1",
            allow_uids=[33],
            limits=Limits(),
        )
        fcgi.WSGIServer(application, multithreaded=False, multiprocess=True, maxChildren=2, maxRequests=9, timeout=3)
        fcgi_fork.WSGIServer(application, maxSpare=2, maxRequests=0, timeout=None, multithreaded=True)
    assert (made.application, made.environ, made.debug) == (application, {"NAME": "value"}, True)


# Warnings


@pytest.mark.parametrize(
    ("server", "given_options", "words"),
    [
        (fcgi.WSGIServer, {"multithreaded": True}, "multithreaded: there are no threads"),
        (fcgi.WSGIServer, {"maxThreads": 10}, "maxThreads: there are no threads"),
        (fcgi.WSGIServer, {"minSpare": 1}, "minSpare: the number of workers is fixed"),
        (fcgi.WSGIServer, {"maxSpare": 3}, "maxSpare: there are no threads"),
        (fcgi.WSGIServer, {"requestClass": object}, "requestClass: requests are read and answered by"),
        (fcgi.WSGIServer, {"jobArgs": ()}, "jobArgs: requests are read and answered by"),
        (fcgi_fork.WSGIServer, {"minSpare": 2}, "minSpare: the number of workers is fixed"),
        (fcgi_fork.WSGIServer, {"maxSpare": 2, "maxChildren": 4}, "maxSpare: the number of workers is fixed"),
        (fcgi_fork.WSGIServer, {"sockTimeout": 2.5}, "sockTimeout: sockets never block"),
        (fcgi_single.WSGIServer, {"maxChildren": 4}, "maxChildren: this is the single server"),
        (fcgi_single.WSGIServer, {"multithreaded": True}, "multithreaded: there are no threads"),
        (fcgi_single.WSGIServer, {"anything": 4}, "anything: flup's single server ignores"),
    ],
)
def test_an_option_without_meaning_warns_once_at_the_callers_line(server, given_options, words):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            server(application, **given_options)
    (warning,) = caught
    assert str(warning.message).startswith(words)
    assert warning.category is FlupOptionWarning
    assert issubclass(FlupOptionWarning, UserWarning)
    assert warning.filename == __file__


def test_a_warning_points_at_the_subclass_that_gives_the_option():
    class Mine(fcgi_fork.WSGIServer):
        def __init__(self):
            super().__init__(application, sockTimeout=1)

    with pytest.warns(FlupOptionWarning) as caught:
        Mine()
    assert caught[0].filename == __file__


def test_a_warning_turned_into_an_error_is_one_each_time():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with pytest.raises(FlupOptionWarning, match="maxThreads"):
                fcgi.WSGIServer(application, maxThreads=4)


def test_attributes_of_a_subclass_warn_too():
    class Mine(fcgi.WSGIServer):
        maxwrite = 65536
        request_class = object

    with pytest.warns(FlupOptionWarning) as caught:
        Mine(application)
    assert [str(warning.message).partition(":")[0] for warning in caught] == ["maxwrite", "request_class"]


# Refusals


@pytest.mark.parametrize("name", ["_isClientAllowed", "_mainloopPeriodic", "_setupSocket", "handler"])
def test_a_method_that_would_not_be_called_is_refused(name):
    mine = type("Mine", (fcgi.WSGIServer,), {name: lambda *_: True})
    with pytest.raises(TypeError, match=rf"Mine\.{name}\(\) would never be called"):
        mine(application)


@pytest.mark.parametrize(
    ("given_options", "error", "words"),
    [
        ({"maxChild": 3}, TypeError, "no option 'maxChild'"),
        ({"minSpare": 0}, ValueError, "minSpare"),
        ({"minSpare": 7}, ValueError, "maxSpare must not be less"),
        ({"minSpare": 3, "maxSpare": 2}, ValueError, "maxSpare must not be less"),
        ({"maxChildren": 0}, ValueError, "maxChildren is a whole number of 1 or more"),
        ({"maxChildren": True}, ValueError, "maxChildren"),
        ({"maxRequests": -1}, ValueError, "maxRequests is a whole number of 0 or more"),
        ({"maxRequests": "9"}, ValueError, "maxRequests"),
        ({"timeout": -1}, ValueError, "timeout is a number of seconds"),
        ({"timeout": "soon"}, ValueError, "timeout is a number of seconds"),
        ({"roles": ()}, ValueError, "are not some of FCGI_RESPONDER"),
        ({"roles": (FCGI_AUTHORIZER, 4)}, ValueError, "are not some of FCGI_RESPONDER"),
        ({"bindAddress": 9000}, TypeError, "bindAddress is None, a path or"),
        ({"bindAddress": ("127.0.0.1", "9000")}, TypeError, "bindAddress is None, a path or"),
        ({"bindAddress": ("127.0.0.1",)}, TypeError, "bindAddress is None, a path or"),
        ({"bindAddress": ("127.0.0.1", 99999)}, AddressError, "port 99999"),
        ({"bindAddress": ""}, AddressError, "needs a path"),
        ({"bindAddress": "/" + "x" * 200}, AddressError, "107 bytes"),
    ],
)
def test_wrong_values_are_named(given_options, error, words):
    with pytest.raises(error, match=words):
        fcgi_fork.WSGIServer(application, **given_options)


# What they become


@pytest.mark.parametrize(
    ("bind_address", "expected"),
    [
        (None, FdAddress(0)),
        ("/run/s", UnixAddress("/run/s")),
        (Path("/run/s"), UnixAddress("/run/s")),
        (("127.0.0.1", 9000), TcpAddress("127.0.0.1", 9000)),
        (["localhost", 9000], TcpAddress("localhost", 9000)),
        (("", 9000), TcpAddress("0.0.0.0", 9000)),
        (("::1", 9000, 0, 0), TcpAddress("::1", 9000)),
        (("", 9000, 0, 0), TcpAddress("::", 9000)),
        (("fe80::1", 9000, 0, 2), TcpAddress("fe80::1%2", 9000)),
    ],
)
def test_bind_address(bind_address, expected):
    assert options.listen_address(bind_address) == expected


@given(st.integers(0, 0o777))
def test_umask(umask):
    assert options.socket_mode(umask) == 0o777 & ~umask


def test_umask_that_is_none_and_one_that_is_too_big():
    before = os.umask(0o027)
    try:
        assert options.socket_mode(None) == 0o750
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    for wrong in (0o1000, -1, "022", True):
        with pytest.raises(ValueError, match="umask"):
            options.socket_mode(wrong)


@given(st.lists(st.ip_addresses(), min_size=1))
def test_allowed_addresses_are_those_that_the_system_tells(addresses):
    found = options.allowed_addresses([f" {address.exploded} " for address in addresses], "TEST")
    assert {str(address) for address in addresses if address.version == 4 or not address.ipv4_mapped} <= found
    plain = {ipaddress.ip_address(text) for text in found}
    for address in addresses:
        mapped = address if address.version == 4 else address.ipv4_mapped
        assert address in plain or mapped in plain


@given(st.text())
def test_anything_else_than_addresses_is_an_address_error(text):
    with suppress(AddressError):
        options.allowed_addresses(text.split(","), "FCGI_WEB_SERVER_ADDRS")


def test_allowed_hosts(monkeypatch):
    monkeypatch.delenv("FCGI_WEB_SERVER_ADDRS", raising=False)
    assert options.allowed_hosts(None) is None
    monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", "192.0.2.1,2001:db8:0::1")
    assert options.allowed_hosts(None) == {"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"}
    assert options.allowed_hosts(()) == frozenset()


def test_listening_beyond_this_machine_without_a_list_warns_when_it_runs(tmp_path):
    program = (
        "import warnings\n"
        "from fastcore.flup import WSGIServer, FlupOptionWarning\n"
        "warnings.simplefilter('error')\n"
        "try:\n"
        "    WSGIServer(print, bindAddress=('0.0.0.0', 0)).run()\n"
        "except FlupOptionWarning as warning:\n"
        "    print(warning)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("FCGI_WEB_SERVER_ADDRS", None)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=30)
    assert done.stdout.startswith("bindAddress: only programs on this machine may connect to 0.0.0.0:0")


# The name flup


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=30)


def test_install_lets_unchanged_code_import_flup():
    done = run_python(
        "import fastcore.flup; fastcore.flup.install(); fastcore.flup.install()\n"
        "import flup.server.fcgi\n"
        "from flup.server.fcgi_fork import WSGIServer\n"
        "from flup.server.fcgi_base import BaseFCGIServer, FCGI_RESPONDER\n"
        "from flup.server import cgi, fcgi_single\n"
        "print(flup.server.fcgi.WSGIServer.__module__, issubclass(WSGIServer, BaseFCGIServer), FCGI_RESPONDER)\n"
    )
    assert done.stdout == "fastcore.flup.server.fcgi True 1\n"


def test_install_after_flup_itself_was_imported_is_refused():
    done = run_python(
        "import sys, types; sys.modules['flup'] = types.ModuleType('flup')\n"
        "import fastcore.flup\n"
        "try:\n"
        "    fastcore.flup.install()\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    assert done.stdout.startswith("flup itself has been imported already")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["/nowhere/script.py"]])
def test_usage_of_the_command(arguments):
    command = [sys.executable, "-m", "fastcore.flup", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith(("usage: ", "python -m fastcore.flup: there is no file /nowhere/script.py"))


def test_the_command_runs_a_script_with_its_arguments(tmp_path):
    (tmp_path / "beside.py").write_text("name = 'beside'")
    (tmp_path / "script.py").write_text(
        "import sys, beside\nfrom flup.server.fcgi import WSGIServer\n"
        "print(__name__, sys.argv[1:], beside.name, WSGIServer.__module__)\nsys.exit(7)\n"
    )
    command = [sys.executable, "-m", "fastcore.flup", str(tmp_path / "script.py"), "one", "--two"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.stdout == "__main__ ['one', '--two'] beside fastcore.flup.server.fcgi\n", done.stderr
    assert done.returncode == 7
