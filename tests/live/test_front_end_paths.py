"""An application mounted at a path, behind front ends that are set up as people set them up: docs/wsgi.md's table."""

from __future__ import annotations

import ast
import os
import re
import shutil
from dataclasses import replace

import pytest
from front_ends import FRONT_ENDS, FrontEnd, Site
from http_talk import ask

from fastcore import implementation

TWIN = "compiled" if implementation.accelerated else "pure"


def usual(name: str, *dropped: str) -> FrontEnd:
    """A front end without the lines that set SCRIPT_NAME and PATH_INFO right."""
    front_end = FRONT_ENDS[name]
    configuration = front_end.configuration
    for pattern in dropped:
        configuration, count = re.subn(pattern, "", configuration)
        assert count, (name, pattern)
    return replace(front_end, configuration=configuration)


# the front end, and the PATH_INFO that it makes of /shop/7
HABITS = {
    "nginx": (usual("nginx", r".*fastcgi_split_path_info.*\n", r".*fastcgi_param PATH_INFO.*\n"), ""),
    "nginx-split": (usual("nginx"), "/shop/7"),
    "lighttpd": (usual("lighttpd", r',\n *"fix-root-scriptname" => "enable"'), "/7"),
    "lighttpd-fixed": (usual("lighttpd"), "/shop/7"),
    "apache": (usual("apache", r"ProxyFCGISetEnvIf.*\n"), ""),
    "haproxy": (usual("haproxy", r" *path-info.*\n"), ""),
    "caddy": (usual("caddy"), "/shop/7"),
}


def paths(site: Site, path: str) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO of the application for this path; it shows its environment at /environ."""
    answer = ask(site.port, "GET", path)
    assert answer.status == 200, answer.body
    told = dict(ast.literal_eval(answer.body.decode()))
    return told.get("SCRIPT_NAME", ""), told.get("PATH_INFO", "")


def running(front_end: FrontEnd, *options: str) -> Site:
    if not shutil.which(front_end.program, path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip(f"needs {front_end.program} (scripts/debian-packages.sh)")
    switches = {"pure": "FASTCORE_PURE", "compiled": "FASTCORE_REQUIRE_COMPILED"}
    environment = {key: value for key, value in os.environ.items() if key not in switches.values()}
    return Site(front_end, environment | {switches[TWIN]: "1"}, TWIN, "wsgi", options=options)


@pytest.mark.parametrize("name", HABITS)
def test_the_path_is_right_behind_every_habit(name: str) -> None:
    front_end, path_info = HABITS[name]
    with running(front_end) as site:  # else the rest shows nothing: the application answers with its PATH_INFO
        assert ask(site.port, "GET", "/shop/7").body == path_info.encode()
    with running(front_end, "--script-name", "/shop") as site:
        assert paths(site, "/shop/environ?a=/b") == ("/shop", "/environ")
        for path, told in (("/shop/7", b"/7"), ("/shop/", b"/"), ("/shop/a%20b/%C3%A9", "/a b/é".encode())):
            assert ask(site.port, "GET", path).body == told, path
        for outside in ("/shopping/environ", "/environ", "/other/shop/environ"):
            answer = ask(site.port, "GET", outside)
            assert (answer.status, answer.body) == (404, b"404 Not Found\n"), outside
