#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds Toxiproxy from source, once (go.mod pins it), with the Go of deploy/check, and prints where the program is.
set -euo pipefail
cd "$(dirname "$0")"
root=../../../..
python=$(cd "$root" && pwd)/.venv/bin/python

pins=$(cat go.mod go.sum "$root/deploy/check/go.txt" | sha256sum | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/nerv/tools"
tools="$cache/toxiproxy-$pins"
mkdir -p "$cache"
exec 9>"$cache/toxiproxy.lock" # two clones that begin at once build one after the other
flock 9
if [ ! -x "$tools/toxiproxy" ]; then
  echo "building Toxiproxy, this once (half a minute)" >&2
  rm -rf "$tools.new"
  mkdir -p "$tools.new"
  "$python" -m venv "$tools.new/venv"
  "$tools.new/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$root/deploy/check/go.txt" >&2
  (
    unset GOROOT
    export GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -modcacherw -buildvcs=false" CGO_ENABLED=0
    export GOPATH="$tools.new/go" GOCACHE="$tools.new/go-build"
    PATH="$tools.new/venv/bin:$PATH"
    go build -ldflags "-s -w" -o "$tools.new/toxiproxy" github.com/Shopify/toxiproxy/v2/cmd/server >"$tools.new/build.log" 2>&1 ||
      { tail -n 30 "$tools.new/build.log" >&2; exit 1; }
  )
  rm -rf "$tools.new"/{venv,go,go-build} "$tools"
  mv "$tools.new" "$tools"
fi
echo "$tools/toxiproxy"
