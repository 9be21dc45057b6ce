"""The course of a reload: the new generation starts beside the old, the front end checks, then all takes over at once.

Nothing here waits: each step is begun, and gone on with from the supervisor's loop when its end is there. Until the
last of them the running generation is as it was. What changes is decided in `reload`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from framework.process import notify
from framework.process.child import Child
from framework.process.frontend import Check, FrontendError, graceful_reload
from framework.process.launcher import LaunchError
from framework.process.loading import LoadError
from framework.process.parts import Part, PartsError
from framework.process.privileges import PrivilegeError
from framework.process.reload import Reload, ReloadError, plan
from framework.process.runfiles import RunError

if TYPE_CHECKING:
    from framework.process.supervisor import Supervisor
    from framework.site.schema import Site

__all__ = ["Reloading"]


class Reloading:
    """The reload that is on its way, if one is, of one supervisor."""

    def __init__(self, supervisor: Supervisor, read_again: Callable[[], Site] | None) -> None:
        """`read_again` gives the site as its file is now; without it there is no reload."""
        self._supervisor = supervisor
        self._read_again = read_again
        self._generation = 1
        self._current: Reload | None = None

    @property
    def incoming(self) -> Collection[Child]:
        """The generation that is to take over."""
        return self._current.incoming.values() if self._current is not None else ()

    def replaces(self, child: Child) -> bool:
        """Whether a new generation of this back end is on its way, and needs its listener."""
        return self._current is not None and child.name in self._current.incoming

    def next_event(self) -> float | None:
        """When the front end's checker has had its time."""
        check = self._current.check if self._current is not None else None
        return None if check is None or check.done else check.deadline or None

    def begin(self, names: Iterable[str]) -> dict[str, Any]:
        """Start the next generation beside the running one. The answer of the control socket."""
        supervisor = self._supervisor
        if supervisor.stopping or self._current is not None or self._read_again is None:
            return {"ok": False, "error": "the site is being stopped or reloaded already"}
        from framework.site.problems import SiteError

        try:
            reload = plan(supervisor.site, self._read_again(), names)
        except (LoadError, SiteError, PartsError, PrivilegeError, ReloadError, OSError) as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # a mistake of ours in reading ends no running site
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}
        notify.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._generation += 1
        self._current = reload
        for part in reload.parts:
            if not reload.failure:  # else the rest would start, and nobody would end it
                self._start(reload, part)
        return {"ok": True, "reloading": True}

    def _start(self, reload: Reload, part: Part) -> None:
        child = self._supervisor.new_child(part)
        child.generation = self._generation
        child.socket_name = f"{part.name}.{self._generation}.sock"
        reload.incoming[part.name] = child
        try:
            self._supervisor.start_backend(child, reload.site)
        except (LaunchError, RunError, OSError) as error:
            child.close()
            child.health.enter("stopped", time.time())
            self.give_up(f"back end {part.name} cannot be started: {error}")

    def go_on(self) -> None:
        """Take the next step where its time has come."""
        reload = self._current
        if reload is None:
            return
        if reload.has_ended:
            self._end(reload, {"ok": False, "error": reload.failure})
        elif reload.failure or not reload.is_ready:
            return
        elif reload.check is None:
            self._check(reload)
        elif reload.check.done:
            self._take_over(reload)
        elif time.monotonic() >= reload.check.deadline > 0:
            reload.check.give_up()

    def _check(self, reload: Reload) -> None:
        """All of the new generation serve: now the front end is asked whether it takes its configuration."""
        poller = self._supervisor.poller
        try:
            check = Check(reload.site, self._supervisor.children[0].part)
            check.begin(poller.watch, poller.unwatch)
        except (FrontendError, OSError) as error:
            self.give_up(str(error))
            return
        reload.check = check
        if check.done:
            self._take_over(reload)

    def reaped(self, pid: int, status: int) -> None:
        """A process has ended that is no child: the checker, perhaps."""
        check = self._current.check if self._current is not None else None
        if check is not None and check.pid == pid and not check.done:
            check.ended(status)

    def lost(self, child: Child) -> None:
        """A child has ended by itself: where it belongs to the new generation, that does not take over."""
        if child in self.incoming:
            self.give_up(f"back end {child.name}: {child.health.last_error}")

    def give_up(self, reason: str) -> None:
        """What runs goes on; the new generation is ended. Who serves already has taken requests: it finishes them."""
        reload, supervisor = self._current, self._supervisor
        if reload is None:
            return
        reload.failure = reload.failure or reason
        if reload.check is not None:
            reload.check.give_up()
        for child in reload.incoming.values():
            if child.health.state == "ready" and not supervisor.stopping:
                supervisor.order_end(child)
            elif child.health.state == "starting" or supervisor.stopping:
                child.kill()

    def _take_over(self, reload: Reload) -> None:
        """The front end takes its configuration: it gets it, then the old generation may go."""
        supervisor = self._supervisor
        try:
            changed = reload.check is not None and reload.check.take()
        except (FrontendError, OSError) as error:
            self.give_up(str(error))
            return
        site = supervisor.site = reload.site
        if changed:
            supervisor.children[0].signal(graceful_reload(site))
        old = {child.name: child for child in supervisor.children[1:]}
        replaced = [old.pop(name) for name in reload.incoming if name in old]
        replaced += [old.pop(name) for name in reload.gone if name in old]
        fresh = {child.name: child for child in (*old.values(), *reload.incoming.values())}
        supervisor.children[1:] = [fresh[name] for name in site.backends if name in fresh]
        for name, child in reload.incoming.items():
            child.move_table(site.urls_path(name))
        for child in replaced:
            if child.name in reload.incoming:
                reload.incoming[child.name].health.restarts += child.health.restarts
            supervisor.retire(child)
            if child.name in reload.gone:
                supervisor.listeners.close(child.name)
                site.urls_path(child.name).unlink(missing_ok=True)
        answer = {"ok": True, "backends": list(reload.incoming), "frontend": changed, "waiting": reload.waiting}
        self._end(reload, answer)

    def _end(self, reload: Reload, answer: dict[str, Any]) -> None:
        supervisor = self._supervisor
        self._current = None
        if reload.check is not None and not answer["ok"]:
            reload.check.drop()
        resting = {child.name for child in supervisor.children if child.health.state == "failed"}
        supervisor.listeners.close_others(supervisor.site.backends.keys() - resting)
        if answer["ok"]:
            supervisor.say(f"reloaded: generation {self._generation} of {', '.join(reload.incoming)} serves")
        else:
            supervisor.say(f"not reloaded, the running generation stays: {answer['error']}", "error")
        if not supervisor.stopping:
            notify.send("READY=1")
        supervisor.settle(answer)
