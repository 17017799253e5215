#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Generates the Python of proto/nerv/api into the given folder (default: libs/nerv/src).
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-../libs/nerv/src}
python=${PYTHON:-../.venv/bin/python}
mkdir -p "$out"
find nerv -name '*.proto' -print0 | sort -z | xargs -0 env PATH="$(dirname "$python"):$PATH" "$python" -m grpc_tools.protoc -I . --python_out="$out" --mypy_out="quiet:$out"
# Packages, so that type checkers and import rules see them.
find "$out/nerv/api" -type d -not -name __pycache__ -exec touch {}/__init__.py \;
