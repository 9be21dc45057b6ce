#!/bin/bash
# Run the demo site on 127.0.0.1:PORT: as root with lighttpd as it runs in earnest, else through the development gateway.
#
#   demo.sh VENV PORT
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 port=$2 site=examples/appliance/site.toml
PATH=$PATH:/usr/sbin

if ! [[ $port =~ ^[0-9]{1,5}$ ]] || ((port < 1 || port > 65535)); then
    echo "make demo: PORT=$port is not a port; give a number from 1 to 65535" >&2
    exit 2
fi
if ! "$venv/bin/python" - "$port" <<'PYTHON'
import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", int(sys.argv[1])))
    except OSError as error:
        sys.exit(f"make demo: 127.0.0.1:{sys.argv[1]} cannot be used ({error.strerror}); choose another: make demo PORT=8081")
PYTHON
then exit 1; fi

# As an installation does it: back ends may not write byte code, and each would compile all modules at every start.
"$venv/bin/python" -m compileall -q fastcore framework examples/appliance || true

if ((EUID == 0)) && command -v lighttpd >/dev/null; then
    echo "==> the demo site as it runs in earnest: lighttpd in front, each back end under its own system user"
    echo "    (made now where missing; \`$venv/bin/sitectl remove $site\` takes them away again)"
    "$venv/bin/sitectl" setup "$site"
    echo "==> starting; Ctrl-C stops everything"
    exec "$venv/bin/sitectl" run "$site" --listen "127.0.0.1:$port"
fi
if ((EUID)); then reason="not root"; else reason="no lighttpd"; fi
echo "==> the demo site through the development gateway ($reason): no lighttpd, and all runs as $(id -un), without privilege separation"
echo "==> starting; Ctrl-C stops everything"
exec "$venv/bin/sitectl" dev "$site" --listen "127.0.0.1:$port"
