#!/bin/bash
# Make sure that Debian packages are there, without starting or enabling any service.
#
#   debian-packages.sh GROUP…        groups: compiler, python, lighttpd, nginx, haproxy, apache, caddy, h2o, libfcgi, libev,
#                                            browser, node, npm, java, valgrind, clang, php, openssl
#
# As root with apt, missing packages are installed; else they are named, with what is left out without them. Exits 0 in
# both cases: each user of a group copes without it (or says itself that it cannot).
#
# Debian's server packages start their service when installed, and enable it at boot. While apt runs here a policy-rc.d
# forbids every start (restored exactly afterwards, also on failure, interrupt, or at the next run after a kill -9), and
# what was newly enabled is disabled again. Services of packages that were there before are not touched.
set -euo pipefail
cd "$(dirname "$0")/.."

POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.saved-by-fastcore
MARK="# Made by fastcore's scripts/debian-packages.sh while it installs packages; removed when it ends."
PENDING=.make/newly-installed        # packages whose units are still to be disabled

has() { command -v "$1" >/dev/null 2>&1 || [[ -x /usr/sbin/$1 ]]; }
installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }
system_python_has() { /usr/bin/python3 -I -c "$1" >/dev/null 2>&1; }

# For one group: is it here?  Which packages bring it?  What is left out without it?
present() {
    case $1 in
        compiler) has gcc && [[ -e /usr/include/stdlib.h ]] ;;
        python) system_python_has 'import ensurepip, os, sysconfig; os.stat(sysconfig.get_paths()["include"] + "/Python.h")' ;;
        lighttpd) has lighttpd && [[ -e /usr/lib/lighttpd/mod_openssl.so && -e /usr/lib/lighttpd/mod_deflate.so ]] ;;
        nginx | haproxy | caddy | h2o) has "$1" ;;
        openssl) has openssl ;;
        apache) has apache2 && [[ -e /usr/lib/apache2/modules/mod_fcgid.so ]] ;;
        libfcgi) [[ -e /usr/include/fcgiapp.h ]] ;;
        libev) [[ -e /usr/include/ev.h ]] ;;
        browser) has chromium ;;
        node) has node ;;
        npm) has npm ;;
        java) has java ;;
        valgrind) has valgrind ;;
        clang) has clang && [[ $(clang -print-file-name=libclang_rt.fuzzer-x86_64.a) == /* || $(clang -print-file-name=libclang_rt.fuzzer-aarch64.a) == /* ]] ;;
        php) compgen -G "/usr/sbin/php-fpm*" >/dev/null ;;
        *) echo "debian-packages.sh: unknown group $1" >&2; exit 2 ;;
    esac
}
packages_of() {
    case $1 in
        compiler) echo gcc libc6-dev ;;
        python) echo python3 python3-venv python3-dev ;;
        lighttpd) echo lighttpd lighttpd-mod-deflate lighttpd-mod-openssl ;;
        haproxy | caddy | h2o | openssl) echo "$1" ;;
        nginx) echo nginx-light ;;
        apache) echo apache2-bin libapache2-mod-fcgid ;;
        libfcgi) echo libfcgi-dev ;;
        libev) echo libev-dev ;;
        browser) echo chromium ;;
        node) echo nodejs ;;
        npm) echo npm ;;
        java) echo default-jre-headless ;;
        valgrind) echo valgrind libc6-dbg ;;
        php) echo php-fpm ;;
        clang) echo clang "$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/libclang-rt-\1-dev/p' | head -n 1)" ;;
    esac
}
left_out() {
    case $1 in
        compiler) echo "the compiled modules (the pure-Python twin runs, slower) and the benchmarks' C programs" ;;
        python) echo "Debian's own python3 (another one may do)" ;;
        lighttpd) echo "the web server: the demo uses the development gateway, tests with a real server are skipped" ;;
        nginx | haproxy | apache | caddy | h2o) echo "the tests behind $1" ;;
        libfcgi) echo "the tests against the FastCGI reference library" ;;
        libev) echo "bjoern in the benchmarks" ;;
        browser) echo "the tests in a browser" ;;
        node) echo "the tests of the JavaScript module outside a browser" ;;
        npm | java) echo "the Nu checker's test of the pages" ;;
        valgrind) echo "counting instructions" ;;
        clang) echo "fuzzing guided by coverage" ;;
        php) echo "the tests with PHP-FPM behind the front ends, and PHP in the benchmark of what a site costs" ;;
        openssl) echo "the tests of TLS, and sitectl certificate" ;;
    esac
}

forbid_starts() {
    undo_forbid_starts                                          # of a run that was killed
    if [[ -e $POLICY || -L $POLICY ]]; then mv -T -- "$POLICY" "$SAVED"; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" >"$POLICY.new"
    chmod 0755 "$POLICY.new"
    mv -T -- "$POLICY.new" "$POLICY"
}
undo_forbid_starts() {
    if [[ -f $POLICY ]] && grep -qxF -- "$MARK" "$POLICY"; then rm -f -- "$POLICY"; fi
    rm -f -- "$POLICY.new"
    if [[ -e $SAVED || -L $SAVED ]]; then
        if [[ -e $POLICY || -L $POLICY ]]; then rm -f -- "$SAVED"; else mv -T -- "$SAVED" "$POLICY"; fi
    fi
}

# Disable what the packages named in $PENDING brought: systemd units, and the links of System V init scripts.
links_to() { find /etc/systemd/system -type l \( -path "*.wants/$1" -o -path "*.requires/$1" \) 2>/dev/null; }
disable_unit() {                                                # UNIT PACKAGE
    # The helper of Debian's maintainer scripts remembers the choice, so that an upgrade does not enable the unit again.
    if has deb-systemd-helper; then DPKG_MAINTSCRIPT_PACKAGE=$2 deb-systemd-helper disable "$1" >/dev/null 2>&1 || true; fi
    if [[ $(links_to "$1") ]] && has systemctl; then systemctl disable --quiet "$1" 2>/dev/null || true; fi
    links_to "$1" | while read -r link; do rm -f -- "$link"; done
}
disable_new_units() {
    [[ -e $PENDING ]] || return 0
    local package file name disabled
    while read -r package; do
        installed "$package" || continue
        if [[ $package == systemd ]]; then continue; fi         # the init system's own units are no services of a server
        disabled=""
        while read -r file; do
            name=${file##*/}
            case $file in
                /lib/systemd/system/*.* | /usr/lib/systemd/system/*.*)
                    if [[ $(links_to "$name") ]]; then disable_unit "$name" "$package"; disabled+=" $name"; fi
                    ;;
                /etc/init.d/*)
                    if has update-rc.d && compgen -G "/etc/rc[2-5].d/S[0-9][0-9]$name" >/dev/null; then
                        update-rc.d "$name" disable >/dev/null 2>&1 || true
                        [[ $disabled ]] || disabled+=" $name"
                    fi
                    ;;
            esac
        done < <(dpkg-query -L "$package" | LC_ALL=C sort -r)   # units (/lib) before init scripts (/etc)
        if [[ $disabled ]]; then echo "    $package: installed, neither started nor enabled at boot (${disabled# })"; fi
    done <"$PENDING"
    rm -f -- "$PENDING"
}

apt() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1 apt-get -q \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        --no-install-recommends --no-remove "$@" </dev/null
}
plan() { apt install --simulate "$@" 2>/dev/null; }

# From here until the script ends, however it ends, no service starts; a signal waits until apt is through with its step.
guard() {
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    trap 'status=$?; trap "" INT TERM HUP; undo_forbid_starts; disable_new_units; exit $status' EXIT
    mkdir -p .make
    forbid_starts
}
install() {
    local log=.make/apt.log
    echo "==> installing Debian packages: $*"
    plan "$@" >/dev/null || apt update >"$log" 2>&1 || { tail -n 5 "$log" >&2; return 1; }
    plan "$@" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p' >>"$PENDING"         # upgrades read "Inst name [old] (new …" and are left out
    apt install --yes "$@" >"$log" 2>&1 || { apt update && apt install --yes "$@"; } >"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
}

if ((EUID == 0)) && [[ -e $PENDING || -e $SAVED || -L $SAVED ]]; then
    echo "==> finishing an installation of Debian packages that was cut off"
    guard
    dpkg --configure -a --force-confdef --force-confold </dev/null >/dev/null 2>&1 || true
    undo_forbid_starts
    disable_new_units
fi

missing=() packages=()
for group in "$@"; do
    if ! present "$group"; then missing+=("$group"); read -r -a more < <(packages_of "$group"); packages+=("${more[@]}"); fi
done
((${#missing[@]})) || exit 0

if ((EUID == 0)) && has apt-get; then
    guard
    if install "${packages[@]}"; then exit 0; fi
    echo "==> apt could not install them; going on without"
else
    if ((EUID)); then reason="not root"; else reason="no apt here"; fi
    echo "==> missing, and not installed ($reason): ${packages[*]}"
fi
for group in "${missing[@]}"; do
    present "$group" || echo "    without $group is left out: $(left_out "$group")"
done
