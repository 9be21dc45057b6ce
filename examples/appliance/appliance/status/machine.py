"""The machine that this process watches, and its sampler: one per process, as there is one machine."""

from __future__ import annotations

from appliance.proc import Machine
from appliance.status.sampler import Sampler

machine = Machine()
sampler = Sampler(machine)
