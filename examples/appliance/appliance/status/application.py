"""The URL table of `status`.

On the console's host this back end is at /status; on the wallboard's host it has the root, and "/" is the wallboard.
"""

from __future__ import annotations

from appliance.frame import not_kept
from appliance.status import pages, remote
from appliance.status.wall import wall_only
from framework import App

app = App(
    [
        (r"/$", pages.overview, "overview"),
        (r"/processes$", pages.processes, "processes"),
        (r"/privileges$", pages.privileges, "privileges"),
        (r"/rpc$", remote.proxy, "rpc"),
    ],
    middleware=[not_kept, wall_only],
)
