"""The status of a site as Prometheus text (exposition format 0.0.4), made from the control socket's answer.

Who asks makes the text: the supervisor, which is root, knows nothing of Prometheus and parses no HTTP. `sitectl
metrics` prints it, or writes the file that node_exporter's textfile collector reads. Every label comes from the
supervisor's own tables (names of the site file), none from what a worker says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["BUCKETS", "text_of"]

BUCKETS = tuple(4**power / 1e6 for power in range(4, 14))
"""Upper limits of the latency buckets in seconds: 256 µs, and four times as much each, to 67 s."""

STATES = ("waiting", "starting", "ready", "asleep", "stopping", "stopped", "failed")
WORKER_STATES = ("starting", "idle", "reading", "handling", "writing", "ending")

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]


def text_of(answer: Mapping[str, Any]) -> str:
    """The metrics of one `status` answer, with a newline at the end; memory where `add_memory` has found it.

    >>> text_of(ask(site.control_path, "status")).splitlines()[2]
    'site_up{site="appliance"} 1'
    """
    site = {"site": str(answer["site"])}
    parts = [(site | {"part": str(part["name"]), "kind": str(part["kind"])}, part) for part in answer["parts"]]
    backends = [(site | {"part": str(part["name"])}, part) for _, part in parts if part["kind"] == "backend"]
    families: list[tuple[str, str, str, list[Sample]]] = []

    def add(name: str, kind: str, text: str, samples: Iterable[tuple[Labels, float | None]], suffix: str = "") -> None:
        known = [(suffix, labels, float(value)) for labels, value in samples if value is not None]
        families.append((name, kind, text, known))

    def each(key: str, scale: float = 1) -> list[tuple[Labels, float | None]]:
        return [(labels, None if part.get(key) is None else part[key] * scale) for labels, part in parts]

    add("site_up", "gauge", "1 while the supervisor answers and does not stop.", [(site, not answer["stopping"])])
    add("site_start_time_seconds", "gauge", "When the supervisor was started, in Unix time.", [(site, answer["since"])])
    add("site_log_lost_lines_total", "counter", "Lines that the log did not take.", [(site, answer["log"]["lost"])])
    add(
        "site_part_state",
        "gauge",
        "1 for the state in which a part is.",
        [(labels | {"state": state}, part["state"] == state) for labels, part in parts for state in STATES],
    )
    add("site_part_restarts_total", "counter", "Ends of a part that nobody had ordered.", each("restarts"))
    add("site_part_generation", "gauge", "The reload with which a part came, from 1.", each("generation"))
    add("site_part_state_since_seconds", "gauge", "Since when it is in its state, in Unix time.", each("since"))
    add("site_part_log_dropped_lines_total", "counter", "Lines over the log_rate of a part.", each("log_dropped"))
    memory = [
        (labels, part["memory"]["pss"] if part.get("processes") else None) for labels, part in parts if "memory" in part
    ]
    if "memory" in answer:
        supervisor = site | {"part": "supervisor", "kind": "supervisor"}
        memory.append((supervisor, answer["memory"]["pss"]))
    add("site_part_memory_pss_bytes", "gauge", "Proportional set size of all processes of a part.", memory)
    workers = [(labels, worker) for labels, part in backends for worker in part["workers"]]
    add(
        "site_backend_workers",
        "gauge",
        "Workers by what they do.",
        [
            (labels | {"state": state}, sum(worker["state"] == state for worker in part["workers"]))
            for labels, part in backends
            for state in WORKER_STATES
        ],
    )
    connections: dict[str, float] = {}
    for labels, worker in workers:
        connections[labels["part"]] = connections.get(labels["part"], 0) + worker["connections"]
    add(
        "site_backend_connections",
        "gauge",
        "Open connections of the front end.",
        [(labels, connections.get(labels["part"], 0)) for labels, _ in backends],
    )
    add(
        "site_backend_requests_total",
        "counter",
        "Requests answered since the site was started.",
        [(labels, part["requests"]) for labels, part in backends],
    )
    families.append(
        (
            "site_backend_request_duration_seconds",
            "histogram",
            "From the last byte of a request to the last of its answer. There is no sum: workers count in buckets.",
            [sample for labels, part in backends for sample in _histogram(labels, part["latencies"])],
        )
    )
    return "".join(_family(*family) for family in families if family[3])


def _histogram(labels: Labels, latencies: Iterable[tuple[float, int]]) -> list[Sample]:
    """Cumulative buckets; every limit of BUCKETS is one of the finer ones in which the workers count."""
    counts = [(float(limit), int(count)) for limit, count in latencies]
    total = sum(count for _, count in counts)
    samples = [
        (
            "_bucket",
            {**labels, "le": f"{limit:.10g}"},
            float(sum(count for at, count in counts if at <= limit * 1.000001)),
        )
        for limit in BUCKETS
    ]
    samples.append(("_bucket", {**labels, "le": "+Inf"}, float(total)))
    return [*samples, ("_count", labels, float(total))]


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    for suffix, labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(each)}"' for key, each in labels.items())
        lines.append(f"{name}{suffix}{{{pairs}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
