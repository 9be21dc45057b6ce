"""The URL table of `notes`."""

from __future__ import annotations

from appliance.frame import not_kept
from appliance.notes import pages
from framework import App

app = App(
    [
        (r"/$", pages.Index, "index"),
        (r"/(?P<note_id>[0-9]{1,9})/edit$", pages.Edit, "edit"),
        (r"/(?P<note_id>[0-9]{1,9})/delete$", pages.Delete, "delete"),
        (r"/privileges$", pages.privileges, "privileges"),
    ],
    middleware=[not_kept],
)
