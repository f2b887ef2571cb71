# shellcheck shell=bash
# Sourced by setup-build and setup-test: install the Debian packages that are missing, or say which they are.

# packages_missing NAME... : prints those that are not installed.
packages_missing() {
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null || true)" = installed ] || echo "$name"
    done
}

# packages_install PURPOSE NAME... : quiet when all are there; fails with the command to run when it cannot install.
packages_install() {
    local purpose=$1 missing
    shift
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        echo "error: $purpose needs the equivalents of these Debian packages: $*" >&2
        return 1
    fi
    mapfile -t missing < <(packages_missing "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "error: $purpose needs packages that are not installed" >&2
        echo "hint: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
        return 1
    fi
    echo "installing for $purpose: ${missing[*]}"
    local log
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # The package lists may be missing or old on a fresh machine; refresh them only when an install fails.
    if ! apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
            tail -n 30 "$log" >&2
            rm -f "$log"
            echo "error: $purpose: apt-get could not install ${missing[*]}" >&2
            return 1
        fi
    fi
    rm -f "$log"
}
