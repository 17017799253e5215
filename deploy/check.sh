#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Are the chart and the compose file well made? Asked of Helm itself, of kubeconform with the schemas of Kubernetes, KEDA, Strimzi and
# the Prometheus operator, and of the parser of Docker Compose itself. The programs are built from source once (deploy/check/go.mod
# pins them, deploy/check/crds.pins the schemas) and kept in the user's cache. What they cannot see, deploy/check/rules.py looks at.
set -euo pipefail
cd "$(dirname "$0")/.."
python="$PWD/.venv/bin/python"
. deploy/check/go.sh

digest() { cat "$@" | sha256sum | cut -c1-12; }
cache="${XDG_CACHE_HOME:-$HOME/.cache}/nerv/tools"
tools="$cache/deploy-$(digest deploy/check/{go.mod,go.sum,main.go,go.txt})"
schemas="$cache/schemas-$(digest deploy/check/{crds.pins,schemas.py} <(grep '^kubernetes-validate==' requirements/dev.txt))"

build() { # package, name, more for the linker
  go build -C deploy/check -ldflags "-s -w ${3:-}" -o "$tools.new/$2" "$1"
}

programs() {
  # What an official Helm is built with, too: it renders for this Kubernetes where it is not told of another.
  local kubernetes="-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34"
  build . composecheck &&
    build github.com/yannh/kubeconform/cmd/kubeconform kubeconform &&
    build helm.sh/helm/v3/cmd/helm helm "$kubernetes"
}

mkdir -p "$cache"
exec 9>"$cache/deploy.lock" # two clones that begin at once build one after the other
flock 9
if [ ! -d "$tools" ]; then
  echo "building Helm, kubeconform and Compose's parser, this once (minutes)" >&2
  rm -rf "$tools.new"
  with_go "$tools.go" programs
  mv "$tools.new" "$tools"
fi
if [ ! -d "$schemas" ]; then
  echo "fetching the schemas of Kubernetes, KEDA, Strimzi and the Prometheus operator, this once" >&2
  rm -rf "$schemas.new"
  with_go "$schemas.go" "$python" deploy/check/schemas.py "$schemas.new"
  mv "$schemas.new" "$schemas"
fi
flock -u 9
exec "$python" -m deploy.check "$tools" "$schemas" "$@"
