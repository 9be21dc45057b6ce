"""What somebody should look at, in words."""

from __future__ import annotations

from appliance import units
from appliance.status.sampler import Figures, share

MEMORY_PERCENT = 90
DISK_PERCENT = 90
LOAD_PER_CORE = 2.0
CELSIUS = 80


def remarks(figures: Figures) -> list[str]:
    """One sentence for each figure beyond its limit; an empty list where all is well."""
    found = []
    if figures.memory_share >= MEMORY_PERCENT:
        found.append(f"Memory is {units.percent(figures.memory_share)} used.")
    for disk in figures.disks:
        used = share(disk.used, disk.used + disk.free)
        if used >= DISK_PERCENT:
            found.append(f"The disk at {disk.path} is {units.percent(used)} full.")
    cores = max(1, len(figures.cores))
    if figures.load.five > LOAD_PER_CORE * cores:
        found.append(f"The load of the last five minutes is {figures.load.five:.1f} on {cores} processors.")
    found.extend(
        f"{sensor.name} is at {units.degrees(sensor.celsius)}."
        for sensor in figures.temperatures
        if sensor.celsius >= CELSIUS
    )
    return found
