"""What flup offers for FastCGI, on fastcore: the same names, parameters and return values.

Replace `flup` by `fastcore.flup` in the imports: `fastcore.flup.server.fcgi`, `.fcgi_fork`, `.fcgi_single`, `.cgi`. An
option that has no meaning here warns once, as FlupOptionWarning, and says why. docs/migrating-from-flup.md tells what
differs.

* ``WSGIServer``: that of `server.fcgi`, which also takes the parameters of the others.
* ``FlupOptionWarning``: a UserWarning; ``python -W error::UserWarning`` makes it an exception.
* ``install()``: code that cannot be changed imports `flup` and finds this; ``python -m fastcore.flup SCRIPT`` does it
  for a script.
"""

from __future__ import annotations

import sys

from fastcore.flup.options import FlupOptionWarning
from fastcore.flup.server.fcgi import WSGIServer

__all__ = ["FlupOptionWarning", "WSGIServer", "install"]

_SERVERS = ("fcgi_base", "fcgi", "fcgi_fork", "fcgi_single", "cgi")


def install() -> None:
    """Make `import flup.server.fcgi` and its siblings find these modules, for code that cannot be changed.

    Raises RuntimeError where the real flup has been imported already. Example::

        fastcore.flup.install()
        bottle.run(application, server="flup", bindAddress="/run/app.sock")
    """
    from importlib import import_module

    known = sys.modules.get("flup")
    if known is not None and known is not sys.modules[__name__]:
        raise RuntimeError("flup itself has been imported already: call fastcore.flup.install() before that")
    sys.modules["flup"] = sys.modules[__name__]
    sys.modules["flup.server"] = import_module("fastcore.flup.server")
    for name in _SERVERS:
        sys.modules[f"flup.server.{name}"] = import_module(f"fastcore.flup.server.{name}")
