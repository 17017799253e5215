# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For scripts to source. `with_go FOLDER COMMAND...` runs a command (or a function, in which set -e does not hold) with the Go of go.txt,
# everything of it in FOLDER, which is removed afterwards. What the command says is shown when it fails, which ends the script.
# Needs $python, an interpreter to make FOLDER/venv with.
with_go() {
  local folder=$1 pins
  shift
  pins="$(dirname "${BASH_SOURCE[0]}")/go.txt"
  [ ! -d "$folder" ] || chmod -R u+w "$folder"
  rm -rf "$folder"
  mkdir -p "$folder/go"
  "$python" -m venv "$folder/venv"
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$pins" >&2
  (
    unset GOROOT
    export GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -modcacherw -buildvcs=false" CGO_ENABLED=0
    export GOPATH="$folder/go" GOCACHE="$folder/go-build" PATH="$folder/venv/bin:$PATH"
    "$@"
  ) >"$folder/log" 2>&1 || { tail -n 30 "$folder/log" >&2; exit 1; }
  rm -rf "$folder"
}
