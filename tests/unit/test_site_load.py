"""A site file as its author meets it: defaults, every mistake at once with its line, nothing unsafe let through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.site import Mount, Problem, Site, SiteError, load
from framework.site.hosts import DEFAULT_HEADERS
from framework.site.loader import MAX_FILE_BYTES

SMALLEST = """\
[site]
name = "appliance"

[[host]]
name = "console.localhost"
backends = ["status"]

[backend.status]
application = "appliance.status:app"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


def read(folder: Path, text: str, **overrides: object) -> Site:
    (folder / "site.toml").write_text(text)
    return load(folder / "site.toml", overrides=overrides)


def problems(folder: Path, text: str, **overrides: object) -> list[Problem]:
    with pytest.raises(SiteError) as caught:
        read(folder, text, **overrides)
    return caught.value.problems


def one_problem(folder: Path, text: str) -> Problem:
    (problem,) = problems(folder, text)
    return problem


def test_the_smallest_site_has_sensible_defaults(folder: Path) -> None:
    site = read(folder, SMALLEST)
    assert (site.listen.address, site.listen.port) == ("127.0.0.1", 8080)
    assert (site.frontend, site.frontend_user, site.frontend_group) == ("lighttpd", "www-data", "www-data")
    assert site.run_directory == Path("/run/appliance")
    assert site.state_directory == Path("/var/lib/appliance")
    (host,) = site.hosts
    assert host.default
    assert host.mounts == (Mount("console.localhost", "/status", "status"),)
    assert host.home == "/status/"
    assert host.headers == DEFAULT_HEADERS
    backend = site.backends["status"]
    assert (backend.user, backend.group, backend.workers) == ("appliance-status", "appliance-status", 1)
    assert backend.path == (folder,)
    assert backend.state_directory == Path("/var/lib/appliance/status")
    assert site.socket_path("status") == Path("/run/appliance/sockets/status.sock")
    assert site.urls_path("status") == Path("/run/appliance/urls/status.json")
    assert site.remarks == ()


def test_everything_said_is_taken(folder: Path) -> None:
    site = read(
        folder,
        """
        [site]
        name = "lab"
        listen = "[::1]:9000"
        frontend = "lighttpd"
        frontend_user = "web"
        frontend_group = "webs"
        run_directory = "/srv/lab/run"
        state_directory = "/srv/lab/state"
        max_request_size = "2 MiB"

        [[host]]
        name = "Lab.Example."
        aliases = ["192.168.1.1", "::1", "lab"]
        default = true
        static = "static"
        static_prefix = "/files"
        static_max_age = 60
        home = "/one/start"
        backends = { one = "/one", two = "/one/two" }
        headers = { X-Frame-Options = "SAMEORIGIN", Referrer-Policy = "" }

        [backend.one]
        application = "one.main:application"
        user = "lab-one"
        group = "labs"
        workers = 4
        path = ["code", "."]
        environment = { MODE = "fast" }
        state_directory = "/srv/lab/one"

        [backend.two]
        application = "two:app"
        prefix = "/second"
        """,
    )
    assert str(site.listen) == "[::1]:9000"
    assert (site.frontend_user, site.frontend_group, site.max_request_size) == ("web", "webs", 2 * 1024 * 1024)
    (host,) = site.hosts
    assert host.names == ("lab.example", "192.168.1.1", "[::1]", "lab")
    assert (host.static, host.static_prefix, host.static_max_age) == (folder / "static", "/files", 60)
    assert host.home == "/one/start"
    assert host.mounts == (Mount("lab.example", "/one", "one"), Mount("lab.example", "/one/two", "two"))
    assert host.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "Referrer-Policy" not in host.headers
    one = site.backends["one"]
    assert (one.user, one.group, one.workers) == ("lab-one", "labs", 4)
    assert one.path == (folder / "code", folder)
    assert one.environment == {"MODE": "fast"}
    assert one.state_directory == Path("/srv/lab/one")
    assert site.backends["two"].prefix == "/second"


def test_overrides_take_the_place_of_the_file(folder: Path) -> None:
    site = read(
        folder,
        SMALLEST,
        listen="127.0.0.1:9000",
        run_directory=folder / "run",
        state_directory=str(folder / "state"),
        development=True,
    )
    assert (site.listen.port, site.run_directory, site.development) == (9000, folder / "run", True)
    assert site.backends["status"].state_directory == folder / "state" / "status"


def test_a_wrong_override_is_a_problem_like_any_other(folder: Path) -> None:
    found = problems(folder, SMALLEST, listen="nowhere", colour="red")
    assert {(problem.file, problem.line, problem.key) for problem in found} == {
        ("", None, "site.colour"),
        ("", None, "site.listen"),
    }


def test_a_folder_stands_for_the_site_toml_in_it(folder: Path) -> None:
    read(folder, SMALLEST)
    assert load(folder).name == "appliance"


BAD = """\
[site]
nam = "appliance"
listen = "8080"
text = '''
[backend.trap]
user = 1
'''

[[host]]
name = "console.localhost:80"
static = "nope"
backends = ["stauts"]

[[host]]
name = "b.example"
aliases = ["b.example", "x_y"]
backends = { status = "status/" }
default = 1

# a comment = with [brackets]
[backend.status]
application = "appliance/status.py"
user = "root"
workers = 0
environment = { A = 1, PYTHONPATH = "x" }

[backend."Bad Name"]
application = "a:b"
path = ["code", "nope", 3]
"""


def test_all_mistakes_are_listed_at_once_each_with_its_line(folder: Path) -> None:
    found = {(problem.line, problem.key) for problem in problems(folder, BAD)}
    assert found == {
        (1, "site.name"),
        (2, "site.nam"),
        (3, "site.listen"),
        (4, "site.text"),
        (10, "host[console.localhost:80].name"),
        (11, "host[console.localhost:80].static"),
        (12, "host[console.localhost:80].backends"),
        (16, "host[b.example].aliases"),
        (17, "host[b.example].backends"),
        (18, "host[b.example].default"),
        (22, "backend.status.application"),
        (23, "backend.status.user"),
        (24, "backend.status.workers"),
        (25, "backend.status.environment"),
        (27, "backend.Bad Name"),
        (29, "backend.Bad Name.path"),
    }


def test_problems_come_in_file_order_and_name_file_line_key_reason_and_hint(folder: Path) -> None:
    found = problems(folder, BAD)
    assert [problem.line for problem in found] == sorted(problem.line or 0 for problem in found)
    second = next(problem for problem in found if problem.key == "site.nam")
    assert str(second) == f'{folder}/site.toml:2: error: site.nam: unknown key; did you mean "name"?'
    assert second.to_dict()["hint"] == 'did you mean "name"?'


def changed(old: str, new: str) -> str:
    assert old in SMALLEST
    return SMALLEST.replace(old, new)


HOST = 'name = "console.localhost"'
HEADERS = "host[console.localhost].headers"
MOUNT = 'backends = ["status"]'
APPLICATION = 'application = "appliance.status:app"'


@pytest.mark.parametrize(
    ("text", "key", "reason", "hint"),
    [
        (changed("[site]", "[sites]"), "sites", "unknown key", '"site"'),
        (changed(HOST, HOST + '\nalias = ["x"]'), "host[console.localhost].alias", "unknown key", '"aliases"'),
        (changed(APPLICATION, ""), "backend.status.application", "missing", "application ="),
        (changed(APPLICATION, APPLICATION + '\nusers = "x"'), "backend.status.users", "unknown key", '"user"'),
        (changed('"appliance.status:app"', '"appliance.status"'), "backend.status.application", "colon", ":app"),
        (changed('"appliance.status:app"', '"a-b:app"'), "backend.status.application", "not a Python name", ""),
        (changed('"appliance.status:app"', '"a.class:app"'), "backend.status.application", "not a Python name", ""),
        (changed(MOUNT, 'backends = "status"'), "host[console.localhost].backends", "not a list", '["status"]'),
        (changed(MOUNT, 'backends = ["nots"]'), "host[console.localhost].backends", "no back end 'nots'", "status"),
        (changed(MOUNT, 'backends = ["status", "status"]'), "host[console.localhost].backends", "both at", "own"),
        (changed(MOUNT, 'backends = { status = "x" }'), "host[console.localhost].backends", "begin with /", '"/x"'),
        (changed(MOUNT, 'backends = { status = "/a//b" }'), "host[console.localhost].backends", "empty", '"/a/b"'),
        (changed(MOUNT, 'backends = { status = "/a/" }'), "host[console.localhost].backends", "ends with /", '"/a"'),
        (changed(MOUNT, 'backends = { status = "/a/.." }'), "host[console.localhost].backends", "'..'", ""),
        (changed(MOUNT, 'backends = { status = "/a b" }'), "host[console.localhost].backends", "segment", ""),
        (changed(MOUNT, 'static = "static"\nbackends = { status = "/static" }'), "host[console.localhost].backends",
         "both at /static", ""),
        (changed(MOUNT, 'static = "static"\nbackends = { status = "/static/x" }'), "host[console.localhost].backends",
         "within the static", ""),
        (changed(MOUNT, 'static = "."\n' + MOUNT), "host[console.localhost].static", "site file", "static"),
        (changed(MOUNT, 'static = "nope"\n' + MOUNT), "host[console.localhost].static", "no folder", ""),
        (changed(MOUNT, ""), "host[console.localhost]", "serves nothing", "backends"),
        (changed(MOUNT, MOUNT + '\nhome = "status"'), "host[console.localhost].home", "not a path", "/status/"),
        (changed(MOUNT, MOUNT + '\nhome = "//evil.example/"'), "host[console.localhost].home", "not a path", ""),
        (changed(MOUNT, MOUNT + '\nheaders = { "X Y" = "1" }'), HEADERS, "header's name", ""),
        (changed(MOUNT, MOUNT + '\nheaders = { X = "a\\r\\nb" }'), HEADERS, "cannot carry", ""),
        (changed(MOUNT, MOUNT + '\nheaders = { content-type = "a" }'), HEADERS, "belongs", ""),
        (changed(HOST, 'name = "http://x.example/"'), "host[http://x.example/].name", "URL", '"x.example"'),
        (changed(HOST, 'name = "*.example"'), "host[*.example].name", "wildcard", "aliases"),
        (changed(HOST, 'name = "büro.example"'), "host[büro.example].name", "ASCII", '"xn--bro-hoa.example"'),
        (changed(HOST, 'name = "-a.example"'), "host[-a.example].name", "'-a'", ""),
        (changed(HOST, 'name = "a..example"'), "host[a..example].name", "empty label", ""),
        (changed(HOST, 'name = "1.2.3.400"'), "host[1.2.3.400].name", "numeric", ""),
        (changed(HOST, HOST + '\naliases = ["console.localhost"]'), "host[console.localhost].aliases", "already", ""),
        (changed('name = "appliance"', 'name = "My Appliance"'), "site.name", "not a name", '"my-appliance"'),
        (changed('name = "appliance"', 'name = "appliance"\nfrontend = "lightpd"'), "site.frontend", "not a front",
         '"lighttpd"'),
        (changed('name = "appliance"', 'name = "appliance"\nfrontend_user = "root"'), "site.frontend_user", "root", ""),
        (changed('name = "appliance"', 'name = "appliance"\nrun_directory = "run"'), "site.run_directory", "absolute",
         ""),
        (changed('name = "appliance"', 'name = "appliance"\nrun_directory = "/run"'), "site.run_directory", "system",
         ""),
        (changed('name = "appliance"', 'name = "appliance"\nrun_directory = "/a/b c"'), "site.run_directory",
         "characters", ""),
        (changed('name = "appliance"', 'name = "appliance"\nrun_directory = "/var/lib/appliance/run"'),
         "site.run_directory", "within each other", ""),
        (changed('name = "appliance"', f'name = "appliance"\nrun_directory = "/srv/{"x" * 90}"'), "backend.status",
         "107 bytes", "shorter"),
        (changed('name = "appliance"', 'name = "appliance"\nmax_request_size = "16 Mib"'), "site.max_request_size",
         "not a size", "16 MiB"),
        (changed('name = "appliance"', 'name = "appliance"\nmax_request_size = 5'), "site.max_request_size", "range",
         ""),
        (changed(APPLICATION, APPLICATION + '\nuser = "www-data"'), "backend.status.user", "front end's", "own"),
        (changed(APPLICATION, APPLICATION + '\ngroup = "www-data"'), "backend.status.group", "front end's", "own"),
        (changed(APPLICATION, APPLICATION + '\nuser = "1000"'), "backend.status.user", "number", "name"),
        (changed(APPLICATION, APPLICATION + '\nuser = "a b"'), "backend.status.user", "not an account's name", ""),
        (changed(APPLICATION, APPLICATION + '\nworkers = "2"'), "backend.status.workers", "whole number", ""),
        (changed(APPLICATION, APPLICATION + "\nworkers = true"), "backend.status.workers", "whole number", ""),
        (changed(APPLICATION, APPLICATION + "\nworkers = 65"), "backend.status.workers", "out of range", "64"),
        (changed(APPLICATION, APPLICATION + '\nenvironment = { "A B" = "x" }'), "backend.status.environment",
         "name of a variable", ""),
        (changed(APPLICATION, APPLICATION + '\nenvironment = { LD_PRELOAD = "x" }'), "backend.status.environment",
         "machinery", ""),
        (changed(APPLICATION, APPLICATION + "\nenvironment = { DEBUG = true }"), "backend.status.environment",
         "not text", 'DEBUG = "true"'),
        (changed(APPLICATION, APPLICATION + '\npath = ["nope"]'), "backend.status.path", "no folder", ""),
        (changed(APPLICATION, APPLICATION + '\npath = "code"'), "backend.status.path", "not a list", '["code"]'),
        (changed(APPLICATION, APPLICATION + '\nprefix = "status"'), "backend.status.prefix", "begin with /", "/status"),
        (changed(APPLICATION, APPLICATION + f"\nworkers = 0x{'f' * 5000}"), "backend.status.workers", "that long",
         "64"),
        (changed(APPLICATION, APPLICATION + f'\npath = ["{"x" * 300}"]'), "backend.status.path",
         "cannot be looked", ""),
        (changed(APPLICATION, APPLICATION + '\npath = ["circle"]'), "backend.status.path", "folder", ""),
        (changed("[[host]]", "[host]"), "host", "list of tables", "[[host]]"),
        (changed("[backend.status]", "[backend]"), "backend.application", "not a table", "[backend."),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_way_out(folder: Path, text: str, key: str, reason: str, hint: str) -> None:
    found = [problem for problem in problems(folder, text) if problem.key == key]
    assert found, [str(problem) for problem in problems(folder, text)]
    assert any(reason in problem.reason and hint in problem.hint for problem in found), [str(p) for p in found]


def test_a_name_belongs_to_one_host(folder: Path) -> None:
    text = SMALLEST + '[[host]]\nname = "second.localhost"\naliases = ["CONSOLE.localhost."]\nstatic = "static"\n'
    problem = one_problem(
        folder, text.replace('[[host]]\nname = "console', '[[host]]\ndefault = true\nname = "console')
    )
    assert "already a name of the host console.localhost" in problem.reason


def test_only_one_host_is_the_default(folder: Path) -> None:
    text = (
        changed(HOST, HOST + "\ndefault = true") + '[[host]]\nname = "b.example"\ndefault = true\nstatic = "static"\n'
    )
    problem = one_problem(folder, text)
    assert problem.key == "host[b.example].default"
    assert "console.localhost is the default already" in problem.reason


def test_without_a_default_the_first_host_is_it_and_this_is_said(folder: Path) -> None:
    site = read(folder, SMALLEST + '[[host]]\nname = "b.example"\nstatic = "static"\n')
    assert [host.default for host in site.hosts] == [True, False]
    (remark,) = site.remarks
    assert (remark.level, remark.line) == ("note", 4)
    assert "console.localhost, the first, answers for unknown names" in remark.reason


def test_a_back_end_that_nobody_reaches_is_a_warning(folder: Path) -> None:
    site = read(folder, SMALLEST + '[backend.lonely]\napplication = "a:b"\n')
    (remark,) = site.remarks
    assert (remark.level, remark.key) == ("warning", "backend.lonely")


def test_two_back_ends_under_one_account_are_a_warning(folder: Path) -> None:
    text = changed(MOUNT, 'backends = ["status", "notes"]').replace(APPLICATION, APPLICATION + '\nuser = "one"')
    site = read(folder, text + '[backend.notes]\napplication = "a:b"\nuser = "one"\n')
    assert [(remark.level, remark.key) for remark in site.remarks] == [("warning", "backend.notes.user")]


def test_two_back_ends_never_share_a_state_directory(folder: Path) -> None:
    text = changed(MOUNT, 'backends = ["status", "notes"]').replace(
        APPLICATION, APPLICATION + '\nstate_directory = "/srv/one/state"'
    )
    text += '[backend.notes]\napplication = "a:b"\nstate_directory = "/srv/one/state"\n'
    assert one_problem(folder, text).key == "backend.notes.state_directory"


def test_what_is_emptied_at_the_end_holds_nothing_of_anybody(folder: Path) -> None:
    text = changed(APPLICATION, APPLICATION + '\nstate_directory = "/run/appliance/status"')
    assert one_problem(folder, text).key == "site.run_directory"
    with_static = changed(MOUNT, 'static = "static"\n' + MOUNT)
    (problem,) = problems(folder, with_static, run_directory=folder / "static" / "run")
    assert "the static folder of console.localhost" in problem.reason


def test_a_state_directory_within_that_of_another_is_an_error(folder: Path) -> None:
    text = changed(MOUNT, 'backends = ["status", "notes"]')
    text += '[backend.notes]\napplication = "a:b"\nstate_directory = "/var/lib/appliance/status/notes"\n'
    assert one_problem(folder, text).key == "backend.notes.state_directory"


def test_a_host_may_serve_nothing_on_purpose(folder: Path) -> None:
    site = read(folder, SMALLEST + '[[host]]\nname = "nothing.invalid"\ndefault = true\nbackends = []\n')
    assert (site.default_host.name, site.default_host.home, site.remarks) == ("nothing.invalid", "", ())


def test_code_is_never_served_as_static_files(folder: Path) -> None:
    (folder / "static" / "code").mkdir()
    text = changed(MOUNT, 'static = "static"\n' + MOUNT).replace(APPLICATION, APPLICATION + '\npath = ["static/code"]')
    problem = one_problem(folder, text)
    assert problem.key == "backend.status.path"
    assert "would be served to everybody" in problem.reason


def test_home_is_not_invented_where_the_root_is_taken(folder: Path) -> None:
    assert read(folder, changed(MOUNT, 'backends = { status = "/" }')).hosts[0].home == ""
    at_root = read(folder, changed(MOUNT, 'static = "static"\nstatic_prefix = "/"\n' + MOUNT))
    assert (at_root.hosts[0].home, at_root.hosts[0].static_prefix) == ("", "")


def test_home_beside_a_back_end_at_the_root_is_a_warning(folder: Path) -> None:
    site = read(folder, changed(MOUNT, 'backends = { status = "/" }\nhome = "/x/"'))
    assert (site.hosts[0].home, site.remarks[0].level) == ("", "warning")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[site\n", 1, "not TOML"),
        ("\n\nname = \n", 3, "not TOML"),
        ('[site]\nname = "a"\nname = "b"\n', None, "not TOML"),
        ("a = " + "[" * 100_000, None, "not TOML"),
        ("a = " + "1" * 5000, None, "not TOML"),
    ],
)
def test_what_is_no_toml_is_said_with_the_line_where_known(
    folder: Path, text: str, line: int | None, reason: str
) -> None:
    problem = one_problem(folder, text)
    assert reason in problem.reason
    assert problem.line == line or line is None


def test_a_file_that_cannot_be_read_is_a_problem_too(folder: Path) -> None:
    with pytest.raises(SiteError, match=r"nowhere\.toml: error: no such file"):
        load(folder / "nowhere.toml")
    (folder / "latin.toml").write_bytes(b'[site]\nname = "\xe4"\n')
    with pytest.raises(SiteError, match=r"latin\.toml:2: error: is not UTF-8"):
        load(folder / "latin.toml")
    (folder / "large.toml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(SiteError, match="larger than"):
        load(folder / "large.toml")
    (folder / "at-limit.toml").write_bytes(SMALLEST.encode() + b"#" * (MAX_FILE_BYTES - len(SMALLEST)))
    assert load(folder / "at-limit.toml").name == "appliance"


@pytest.mark.parametrize("text", ["", "site = 1\nhost = 2\nbackend = 3\n", "[[site]]\n[[backend]]\n", "[host.x]\n"])
def test_tables_of_the_wrong_shape_are_problems_not_crashes(folder: Path, text: str) -> None:
    assert problems(folder, text)


_SCALARS = st.one_of(
    st.booleans().map(lambda value: "true" if value else "false"),
    st.integers(-(2**40), 2**40).map(str),
    st.sampled_from(["1.5", "nan", "1979-05-27", '"""x\n[y]\n"""', "'''\n# z = 1\n'''", "[]", "{}", '["a", 1]']),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
)
_KEYS = st.sampled_from(
    ["name", "listen", "frontend", "run_directory", "aliases", "default", "static", "backends", "application", "prefix",
     "user", "group", "workers", "path", "environment", "state_directory", "home", "headers", "nonsense", '"a b"',
     "a.b"]
)  # fmt: skip
_HEADERS = st.sampled_from(["[site]", "[[host]]", "[backend.one]", "[backend.two]", "[backend]", "[other]", "[[x.y]]"])
_LINES = st.one_of(_HEADERS, st.tuples(_KEYS, _SCALARS).map(" = ".join), st.just("# comment"), st.just(""))


def outcome(file: Path) -> Site | list[Problem]:
    try:
        return load(file)
    except SiteError as error:
        return error.problems


@given(st.lists(_LINES, max_size=30))
def test_any_toml_is_a_site_or_a_site_error(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text("\n".join(lines))
    found = outcome(file)
    if isinstance(found, Site):
        assert found.hosts
        assert re.fullmatch("[a-z][a-z0-9_-]*", found.name)
        return
    assert any(problem.level == "error" for problem in found)
    source = file.read_text().split("\n")
    for problem in found:
        assert problem.line is None or 1 <= problem.line <= len(source)
        if problem.reason == "unknown key" and problem.line is not None:
            assert problem.key.rpartition(".")[2] in source[problem.line - 1]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_site_or_a_site_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.toml"
    file.write_bytes(content)
    with pytest.raises(SiteError):
        load(file)


@pytest.mark.parametrize("log", ["output", "journal", "/var/log/appliance.log"])
def test_the_log_is_one_of_three_things(tmp_path: Path, log: str) -> None:
    text = '[site]\nname = "unit"\nlog = "{log}"\n[[host]]\nname = "a.localhost"\nstatic = "static"\n'
    (tmp_path / "static").mkdir()
    (tmp_path / "site.toml").write_text(text.format(log=log))
    assert load(tmp_path).log == log
    for wrong in ("stdout", "x.log", "/x.log", "/var/log/../x", ""):
        (tmp_path / "site.toml").write_text(text.format(log=wrong))
        with pytest.raises(SiteError) as caught:
            load(tmp_path)
        assert [problem.key for problem in caught.value.problems] == ["site.log"]
