#!/usr/bin/env bash
# Installs what a build needs from the distribution's packages. Sourced by the other scripts; safe to run by itself.
# Does nothing when everything is there already, so that an offline machine that has been set up once keeps working.

LOGPIPE_PACKAGES=(
  g++ cmake ninja-build pkg-config ccache git
  libconcurrentqueue-dev libsimdjson-dev libspdlog-dev libfmt-dev libyaml-cpp-dev libcli11-dev libexpected-dev
  libmicrohttpd-dev libcurl4-openssl-dev libsystemd-dev libxxhash-dev libpcre2-dev zlib1g-dev libzstd-dev liblua5.4-dev libmaxminddb-dev
  doctest-dev libbenchmark-dev
)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }

install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "all $# packages are installed"
    return
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "run this as root, or install sudo: packages are missing" >&2; exit 1; }
    root=(sudo)
  fi
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  install_packages "${LOGPIPE_PACKAGES[@]}"
fi
