"""The machine that this process watches, and its sampler: one per process, as there is one machine.

The first look is taken when the back end starts, so that the first page has something to compare with.
"""

from __future__ import annotations

from appliance.proc import Machine
from appliance.status.sampler import Sampler

machine = Machine()
sampler = Sampler(machine)
sampler.figures()
sampler.running()
