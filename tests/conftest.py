"""Shared by all tests: both twins, a temporary directory for each run, and no silent skips where that is asked for.

FASTCORE_PURE=1             only the pure twin (`make test-pure`)
FASTCORE_TEST_STRICT=1      a skip whose reason is not in ALLOWED_SKIPS is a failure (CI)
FASTCORE_TEST_KEEP=1        keep the temporary directory of the run
HYPOTHESIS_PROFILE=NAME     default, quick, ci or long
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
import written_pages
from hypothesis import HealthCheck, settings

from fastcore import implementation

ROOT = Path(__file__).resolve().parent.parent
PURE_ONLY = os.environ.get("FASTCORE_PURE", "0") not in ("", "0")
STRICT = os.environ.get("FASTCORE_TEST_STRICT", "0") not in ("", "0")
KEEP = os.environ.get("FASTCORE_TEST_KEEP", "0") not in ("", "0")

# What even a complete machine may lack, as patterns of the reason given to pytest.skip.
ALLOWED_SKIPS = (
    r"FASTCORE_PURE",
    r"no IPv6",
    r"needs Python 3\.\d+",
    r"needs a (free port below|limit of) \d+",
    r"needs (java|npm)",
)

RUN_DIRECTORY = pytest.StashKey[Path]()
PAGES = pytest.StashKey[written_pages.Pages]()

# What is drawn at random may be slow, large or filtered: no reason to fail.
_health = list(HealthCheck)
settings.register_profile("default", max_examples=100, deadline=None, suppress_health_check=_health, print_blob=True)
settings.register_profile("quick", parent=settings.get_profile("default"), max_examples=20)
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)  # the same examples each time
settings.register_profile("long", parent=settings.get_profile("default"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """One directory for everything temporary, short (unix socket paths end at 107 bytes) and open to other users.

    Signals that whoever started the run ignores (nohup, a shell's `&`) would be ignored by the servers under test, too.
    """
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    directory = Path(tempfile.mkdtemp(prefix="fc-"))
    directory.chmod(0o755)
    config.stash[RUN_DIRECTORY] = directory
    (directory / "tmp").mkdir()
    (directory / "tmp").chmod(0o1777)
    os.environ["TMPDIR"] = tempfile.tempdir = str(directory / "tmp")
    if config.option.basetemp is None:
        config.option.basetemp = str(directory / "t")
    pages = Path(os.environ.setdefault(written_pages.FOLDER, str(directory / "pages")))
    pages.mkdir(exist_ok=True)
    config.stash[PAGES] = written_pages.Pages(pages)
    config.stash[PAGES].watch_imports()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    directory = config.stash.get(RUN_DIRECTORY, None)
    if directory is not None and not KEEP:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Any:
    pages = item.config.stash[PAGES]
    pages.item = item
    try:
        return (yield)
    finally:
        pages.item = None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """After all tests (of all workers): what they wrote is checked, and what is wrong fails the test that wrote it."""
    worker = hasattr(session.config, "workerinput")
    if worker or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return
    pages = session.config.stash[PAGES]
    pages.over = True
    for report in written_pages.reports(pages.folder):
        _refuse_skip(report)
        session.config.hook.pytest_runtest_logreport(report=report)
        if report.failed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "twin" in getattr(item, "fixturenames", ()) or (ROOT / "tests" / "twins") in item.path.parents:
            item.add_marker("twins")


def _refuse_skip(report: Any) -> None:
    if not (STRICT and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(re.search(pattern, reason) for pattern in ALLOWED_SKIPS):
        report.outcome = "failed"
        report.longrepr = f"FASTCORE_TEST_STRICT=1 allows no skip for this reason: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(params=("compiled", "pure"), scope="module")
def twin(request: pytest.FixtureRequest) -> implementation.Twin:
    """One implementation of fastcore: `twin.records`, `twin.connection`, …; a test that takes it runs on both."""
    if request.param == "compiled":
        if PURE_ONLY:
            pytest.skip("FASTCORE_PURE is set: the compiled twin is left out")
        if not any((ROOT / "fastcore" / "compiled").glob("*.so")) and not implementation.accelerated:
            pytest.skip("the compiled modules are not built (make build)")
    return implementation.twin(request.param)


@pytest.fixture(scope="module")
def twin_environment(twin: implementation.Twin) -> dict[str, str]:
    """This process's environment for a child that has to run on the same twin as the test."""
    switches = {"pure": "FASTCORE_PURE", "compiled": "FASTCORE_REQUIRE_COMPILED"}
    others = {name: value for name, value in os.environ.items() if name not in switches.values()}
    return others | {switches[twin.name]: "1"}


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """A directory that survives the run: screenshots and the like (`.artifacts/`, not under version control)."""
    directory = ROOT / ".artifacts"
    directory.mkdir(exist_ok=True)
    return directory
