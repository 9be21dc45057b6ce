"""What the live pages show: a text for each figure, a share for each bar, paths for each chart, by name.

The pages are built from it, and the remote call `overview` answers with it, so that what stands in a page when it is
loaded and what its script puts there later are the same. Names are those of the `data-text`, `data-bar` and
`data-chart` attributes.
"""

from __future__ import annotations

import time

from appliance import charts, units
from appliance.charts import Chart
from appliance.status.health import remarks
from appliance.status.sampler import Figures, Point, Sampler, share
from fastcore.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Live:
    """`bars` in percent; `figures` is the look that it was made from."""

    figures: Figures
    texts: dict[str, str] = field(default_factory=dict)
    bars: dict[str, float] = field(default_factory=dict)
    charts: dict[str, Chart] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """For the remote call: plain dictionaries and lists."""
        drawn = {
            name: {"lines": list(chart.lines), "areas": list(chart.areas), "text": chart.text}
            for name, chart in self.charts.items()
        }
        return {"texts": self.texts, "bars": self.bars, "charts": drawn}


def overview(sampler: Sampler) -> Live:
    """The machine as it is now."""
    figures = sampler.figures()
    live = Live(figures)
    _processor(live, figures)
    _memory(live, figures)
    _network(live, figures)
    _disks(live, figures)
    for sensor in figures.temperatures:
        live.texts[f"temperature.{sensor.name}"] = units.degrees(sensor.celsius)
        live.bars[f"temperature.{sensor.name}"] = share(sensor.celsius, 100)
    found = remarks(figures)
    live.texts["health"] = " ".join(found) or "All is well."
    live.texts["health.state"] = "attention" if found else "well"
    live.texts["time"] = time.strftime("%H:%M:%S", time.localtime(figures.time))
    live.texts["uptime"] = units.duration(figures.uptime)
    _charts(live, sampler.points(), figures.time)
    return live


def _processor(live: Live, figures: Figures) -> None:
    live.texts["cpu"] = units.percent(figures.cpu)
    live.bars["cpu"] = round(figures.cpu, 1)
    for number, used in enumerate(figures.cores):
        live.texts[f"core.{number}"] = units.percent(used)
        live.bars[f"core.{number}"] = round(used, 1)
    for name, value in (("one", figures.load.one), ("five", figures.load.five), ("fifteen", figures.load.fifteen)):
        live.texts[f"load.{name}"] = f"{value:.2f}"


def _memory(live: Live, figures: Figures) -> None:
    memory = figures.memory
    live.texts["memory"] = units.percent(figures.memory_share)
    live.bars["memory"] = round(figures.memory_share, 1)
    live.texts["memory.used"] = units.size(memory.used)
    live.texts["memory.available"] = units.size(memory.available)
    live.texts["memory.total"] = units.size(memory.total)
    live.texts["swap"] = (
        f"{units.size(memory.swap_used)} of {units.size(memory.swap_total)}" if memory.swap_total else "none"
    )


def _network(live: Live, figures: Figures) -> None:
    live.texts["received"] = units.rate(sum(interface.received_rate for interface in figures.interfaces))
    live.texts["sent"] = units.rate(sum(interface.sent_rate for interface in figures.interfaces))
    for interface in figures.interfaces:
        live.texts[f"network.{interface.name}.received_rate"] = units.rate(interface.received_rate)
        live.texts[f"network.{interface.name}.sent_rate"] = units.rate(interface.sent_rate)
        live.texts[f"network.{interface.name}.received"] = units.size(interface.received)
        live.texts[f"network.{interface.name}.sent"] = units.size(interface.sent)


def _disks(live: Live, figures: Figures) -> None:
    for disk in figures.disks:
        used = share(disk.used, disk.used + disk.free)
        live.texts[f"disk.{disk.path}"] = units.percent(used)
        live.bars[f"disk.{disk.path}"] = round(used, 1)
        live.texts[f"disk.{disk.path}.free"] = units.size(disk.free)
    fullest = max(figures.disks, key=lambda disk: share(disk.used, disk.used + disk.free), default=None)
    used = share(fullest.used, fullest.used + fullest.free) if fullest else 0.0
    live.texts["disk"] = units.percent(used)
    live.bars["disk"] = round(used, 1)
    live.texts["disk.note"] = f"{units.size(fullest.free)} free at {fullest.path}" if fullest else "no disk found"


def _charts(live: Live, points: list[Point], now: float) -> None:
    for name, title in (("cpu", "Processor"), ("memory", "Memory")):
        values = [(point.time, float(getattr(point, name))) for point in points]
        live.charts[name] = charts.draw([values], now, 100.0, _in_words(title, live.texts[name], values))
    traffic = [[(point.time, float(getattr(point, name))) for point in points] for name in ("received", "sent")]
    top = charts.ceiling(max((value for series in traffic for _, value in series), default=0.0), 1024.0)
    words = f"Network over the last two minutes: now {live.texts['received']} in and {live.texts['sent']} out."
    live.charts["network"] = charts.draw(traffic, now, top, words)
    live.texts["network.top"] = units.rate(top)


def _in_words(title: str, now: str, values: list[tuple[float, float]]) -> str:
    highest = units.percent(max((value for _, value in values), default=0.0))
    return f"{title} over the last two minutes: now {now}, at most {highest}."
