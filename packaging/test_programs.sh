#!/usr/bin/env bash
# The programs that some tests drive: installs them where it may, else says what is not tested without them.
# Owns: the list. Never: starting any of them; a service that a Debian package would start stays off.
# With NEUROCACHE_REQUIRE_ALL=1 a missing program is an error.
set -euo pipefail

# program | Debian package | what is not tested without it
programs=(
    "curl|curl|the README's commands and 100-continue with a client of the world"
    "nginx|nginx-light|a real nginx as origin, and as peer of the comparison"
    "wrk|wrk|tests under load, and the comparison with other servers"
    "varnishd|varnish|Varnish as peer of the comparison"
    "traffic_server|trafficserver|Traffic Server as peer of the comparison"
)

# Debian puts servers below /usr/sbin, which is not in every user's PATH.
export PATH="$PATH:/usr/sbin:/sbin"

missing_rows() {
    local row
    for row in "${programs[@]}"; do
        command -v "${row%%|*}" >/dev/null || printf '%s\n' "$row"
    done
}

install_packages() {
    local guard=""
    # policy-rc.d is Debian's way to keep a package from starting its service; an administrator's own stays.
    if [[ ! -e /usr/sbin/policy-rc.d ]]; then
        guard=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >"$guard"
        chmod +x "$guard"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null && apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null || true
    if [[ -n $guard ]]; then
        rm -f "$guard"
        trap - EXIT
    fi
}

mapfile -t rows < <(missing_rows)
if ((${#rows[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    packages=()
    for row in "${rows[@]}"; do
        IFS='|' read -r _ package _ <<<"$row"
        packages+=("$package")
    done
    printf 'test: installing %s\n' "${packages[*]}"
    install_packages "${packages[@]}"
    mapfile -t rows < <(missing_rows)
fi

for row in ${rows[@]+"${rows[@]}"}; do
    IFS='|' read -r program package effect <<<"$row"
    printf 'test: `%s` is missing (Debian package %s); not tested: %s\n' "$program" "$package" "$effect" >&2
done
if ((${#rows[@]})) && [[ ${NEUROCACHE_REQUIRE_ALL:-} == 1 ]]; then
    echo 'test: NEUROCACHE_REQUIRE_ALL=1 forbids to go on without them' >&2
    exit 1
fi
