#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `build-go.sh FOLDER NAME PACKAGE`: builds a program from source, once (the folder's go.mod pins it), into the user's cache, with the
# Go of go.txt, and prints where the program is.
set -euo pipefail
folder=$(cd "$1" && pwd) name=$2 package=$3
here=$(cd "$(dirname "$0")" && pwd)
python=$(cd "$here/../.." && pwd)/.venv/bin/python
. "$here/go.sh"

pins=$({ cat "$folder"/go.mod "$folder"/go.sum; find "$folder" -name '*.go' -exec cat {} +; cat "$here/go.txt"; } | sha256sum | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/nerv/tools"
tools="$cache/$name-$pins"
mkdir -p "$cache"
exec 9>"$cache/$name.lock" # two clones that begin at once build one after the other
flock 9
if [ ! -x "$tools/$name" ]; then
  echo "building $name, this once" >&2
  rm -rf "$tools.new" "$tools"
  mkdir -p "$tools.new"
  with_go "$tools.go" go build -C "$folder" -ldflags "-s -w" -o "$tools.new/$name" "$package"
  mv "$tools.new" "$tools"
fi
echo "$tools/$name"
