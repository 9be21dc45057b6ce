"""One reload: a new generation of back ends is started beside the running one, and takes over as a whole or not at all.

Here is what is decided without processes: what may change in a running site, which back ends are new, changed or gone,
and how far a reload has come. The supervisor starts, watches and ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastcore.values import dataclass, field, field_names, replace
from framework.process.child import Child
from framework.process.frontend import Check
from framework.process.parts import Part, parts_of

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["Reload", "ReloadError", "adopt", "plan"]

FIXED = (
    *("name", "listen", "also_listen", "frontend", "frontend_user", "frontend_group"),
    *("run_directory", "log", "control_group"),
)
"""What a running site keeps: its socket and files are named or owned by it."""


class ReloadError(Exception):
    """Nothing was changed; the text says why, a line for each reason."""


@dataclass(slots=True)
class Reload:
    """A reload on its way.

    site      what the site file says now; of named back ends, what it says of those
    parts     the back ends of which a new generation starts
    gone      names of back ends that the new site does not have
    waiting   what else has changed in the site file, and waits for a reload without names
    incoming  the new generation, by name
    check     the front end's checker with the new configuration, once all of the new generation serve
    failure   why it does not take place; "" while it may
    """

    site: Site
    parts: list[Part]
    gone: tuple[str, ...]
    waiting: tuple[str, ...] = ()
    incoming: dict[str, Child] = field(default_factory=dict)
    check: Check | None = None
    failure: str = ""

    @property
    def is_ready(self) -> bool:
        """Every back end of the new generation has said that it serves."""
        return all(child.health.state == "ready" for child in self.incoming.values())

    @property
    def has_ended(self) -> bool:
        """After a failure: nothing of the new generation runs any more."""
        if not self.failure or (self.check is not None and not self.check.done):
            return False
        return not any(child.health.pid for child in self.incoming.values())


def plan(old: Site, new: Site, names: Iterable[str] = ()) -> Reload:
    """What a reload from `old` to `new` has to do; of the named back ends only, or of all.

    Raises ReloadError, and PartsError for what the system lacks.
    """
    changed = [key for key in FIXED if getattr(old, key) != getattr(new, key)]
    if changed:
        lines = (f"{key} was {getattr(old, key)} and is {getattr(new, key)} now" for key in changed)
        raise ReloadError("\n".join((*lines, "this takes 'sitectl stop' and 'sitectl run'")))
    chosen = tuple(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in new.backends]
    if unknown:
        known = ", ".join(new.backends)
        raise ReloadError(f"there is no back end {unknown[0]!r}; there are {known}")
    site, waiting = adopt(old, new, chosen) if chosen else (new, ())
    backends = [part for part in parts_of(site) if part.kind == "backend" and (not chosen or part.name in chosen)]
    return Reload(site, backends, tuple(name for name in old.backends if name not in site.backends), waiting)


def adopt(old: Site, new: Site, names: Iterable[str]) -> tuple[Site, tuple[str, ...]]:
    """The old site with the named back ends as the new one has them, and what else differs, in words.

    Raises ReloadError for a back end that the old site does not have: it takes hosts that lead to it.
    """
    chosen = dict.fromkeys(names)
    added = [name for name in chosen if name not in old.backends]
    if added:
        raise ReloadError(f"back end {added[0]} is new: reload the whole site, without names")
    merged = replace(old, backends={**old.backends, **{name: new.backends[name] for name in chosen}})
    keys = [key for key in field_names(old) or () if key not in ("backends", "remarks")]
    waiting = [key for key in keys if getattr(old, key) != getattr(new, key)]
    others = dict.fromkeys([*old.backends, *new.backends])
    waiting += [f"back end {name}" for name in others if merged.backends.get(name) != new.backends.get(name)]
    return merged, tuple(waiting)
