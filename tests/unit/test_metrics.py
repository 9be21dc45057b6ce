"""The status of a site as Prometheus text: read by Prometheus's own parsers, with names and types as it wants them."""

from __future__ import annotations

import copy
import shutil
import subprocess
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastcore import scoreboard
from framework.process.metrics import BUCKETS, text_of

LATENCIES = [0] * scoreboard.BUCKETS
for at in (0.00001, 0.0002, 0.0003, 0.002, 0.002, 100.0):
    LATENCIES[scoreboard.bucket_of(at)] += 1

PART = {
    "restarts": 2,
    "generation": 3,
    "since": 1700000000.5,
    "log_dropped": 7,
    "state": "ready",
    "processes": [11],
    "memory": {"pss": 1 << 20, "rss": 2 << 20},
}
ANSWER: dict[str, Any] = {
    "site": "appliance",
    "since": 1700000000.25,
    "stopping": "",
    "log": {"to": "/var/log/x", "lost": 5},
    "memory": {"pss": None, "rss": None},
    "parts": [
        PART | {"name": "lighttpd", "kind": "frontend", "workers": [], "latencies": [], "requests": 0},
        PART
        | {
            "name": "status",
            "kind": "backend",
            "requests": 6,
            "latencies": [[scoreboard.bucket_limit(at), count] for at, count in enumerate(LATENCIES) if count],
            "workers": [
                {"state": "idle", "connections": 1, "requests": 4},
                {"state": "handling", "connections": 2, "requests": 2},
            ],
        },
    ],
}


def samples(answer: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    """Name → values of the labels → value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text_of(answer)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_what_the_status_says_is_there() -> None:
    found = samples(ANSWER)
    assert found["site_up"] == {("appliance",): 1}
    assert found["site_start_time_seconds"] == {("appliance",): 1700000000.25}
    assert found["site_log_lost_lines_total"] == {("appliance",): 5}
    assert found["site_part_restarts_total"][("appliance", "status", "backend")] == 2
    state = {labels[3]: value for labels, value in found["site_part_state"].items() if labels[1] == "status"}
    assert [each for each, value in state.items() if value] == ["ready"]
    assert found["site_backend_requests_total"] == {("appliance", "status"): 6}
    assert found["site_backend_connections"] == {("appliance", "status"): 3}
    assert found["site_backend_workers"][("appliance", "status", "handling")] == 1
    assert found["site_part_memory_pss_bytes"][("appliance", "status", "backend")] == 1 << 20


@pytest.mark.parametrize("state", ["waiting", "starting", "ready", "asleep", "stopping", "stopped", "failed"])
def test_each_state_of_a_part_is_one_of_the_metrics(state: str) -> None:
    answer = copy.deepcopy(ANSWER)
    answer["parts"][1]["state"] = state
    found = samples(answer)["site_part_state"].items()
    assert [labels[3] for labels, value in found if value and labels[1] == "status"] == [state]


def test_the_histogram_counts_what_stayed_below_each_limit() -> None:
    found = {
        labels[2]: value for labels, value in samples(ANSWER)["site_backend_request_duration_seconds_bucket"].items()
    }
    assert found == {
        "0.000256": 2,
        "0.001024": 3,
        **dict.fromkeys(("0.004096", "0.016384", "0.065536", "0.262144", "1.048576", "4.194304", "16.777216"), 5),
        "67.108864": 5,
        "+Inf": 6,
    }
    limits = {scoreboard.bucket_limit(index) for index in range(scoreboard.BUCKETS)}
    assert limits.issuperset(BUCKETS)


def test_what_is_not_known_is_left_out_and_names_are_quoted() -> None:
    answer = copy.deepcopy(ANSWER)
    answer["parts"][1]["name"] = 'a"b\\c\nd'
    answer["parts"][1]["memory"] = {"pss": None}
    answer["stopping"] = "SIGTERM"
    found = samples(answer)
    assert ("appliance", 'a"b\\c\nd') in found["site_backend_requests_total"]
    assert set(found["site_part_memory_pss_bytes"]) == {("appliance", "lighttpd", "frontend")}
    assert found["site_up"] == {("appliance",): 0}


if shutil.which("promtool"):  # Debian's package prometheus: a server and 300 MB that nothing else here needs

    def test_promtool_finds_nothing_to_mend() -> None:
        done = subprocess.run(["promtool", "check", "metrics"], input=text_of(ANSWER), capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
