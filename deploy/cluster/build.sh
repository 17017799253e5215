#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds Helm and Kubernetes from source by the ordinary Go client, so that no registry of images is needed. A quarter of an hour
# on two cores, once a machine; a second run builds what is missing, or has another version than is pinned here.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh

# Kubernetes 1.34 is what the chart's schemas are checked against; etcd 3.6 and CoreDNS 1.12 are the ones that it was released with.
KUBERNETES=v1.34.4
ETCD=v3.6.16
COREDNS=v1.12.4
HELM=v3.22.0 # the last line of Helm 3, which most people have; the chart needs nothing of Helm 4
COMPONENTS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
PACKAGES=(docker.io containerd runc debootstrap containernetworking-plugins iptables conntrack iproute2 gcc libc6-dev openssl)
PROGRAMS=(dockerd docker containerd runc debootstrap iptables conntrack ip gcc openssl)

# The version that a program was built of is in it.
have() { # program module version
  [ -x "$BIN/$1" ] && { ! command -v go >/dev/null || go version -m "$BIN/$1" | grep -qE "	$2	$3(	|\$)"; }
}

need_go() {
  command -v go >/dev/null || fail "no Go: Kubernetes and Helm are built from source here; install Go 1.24 or newer (https://go.dev/dl)"
}

install_go() { # program module version package
  have "$1" "$2" "$3" && return
  need_go
  say "building $1 $3"
  GOBIN=$BIN nice -n 15 go install "$4@$3"
}

module() { # name: an empty module to build in
  mkdir -p "$CLUSTER_HOME/$1"
  cd "$CLUSTER_HOME/$1"
  rm -f go.mod go.sum
}

build_etcd() {
  have etcd go.etcd.io/etcd/server/v3 "$ETCD" && return
  need_go
  say "building etcd $ETCD"
  (
    module etcd
    go mod init etcdbuild 2>/dev/null
    go get -tool "go.etcd.io/etcd/server/v3@$ETCD"
    CGO_ENABLED=0 nice -n 15 go build -o "$BIN/etcd" go.etcd.io/etcd/server/v3
  )
}

# Its own go.mod replaces its libraries by folders of its repository; outside of it they are the modules published beside it.
kubernetes_module() {
  local source name
  source=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES" | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')
  printf 'module k8sbuild\n\ngo 1.24.0\n\ngodebug default=go1.24\n\ntool (\n'
  printf '\tk8s.io/kubernetes/cmd/%s\n' "${COMPONENTS[@]}"
  printf ')\n\nrequire k8s.io/kubernetes %s\n\nreplace (\n' "$KUBERNETES"
  sed -n 's#^[[:space:]]*\(k8s.io/[a-z-]*\) => ./staging/src/.*#\1#p' "$source" | while read -r name; do
    printf '\t%s => %s v0.%s\n' "$name" "$name" "${KUBERNETES#v1.}"
  done
  printf ')\n'
}

build_kubernetes() {
  local missing=() program version=k8s.io/component-base/version
  for program in "${COMPONENTS[@]}"; do
    have "$program" k8s.io/kubernetes "$KUBERNETES" || missing+=("$program")
  done
  [ ${#missing[@]} = 0 ] && return
  need_go
  local flags="-s -w -X $version.gitVersion=$KUBERNETES -X $version.gitMajor=1 -X $version.gitMinor=34"
  flags+=" -X k8s.io/client-go/pkg/version.gitVersion=$KUBERNETES"
  (
    module k8s
    kubernetes_module >go.mod
    go mod tidy
    for program in "${missing[@]}"; do
      say "building $program $KUBERNETES"
      CGO_ENABLED=0 nice -n 15 go build -p 2 -trimpath -ldflags "$flags" -o "$BIN/$program" "k8s.io/kubernetes/cmd/$program"
    done
  )
}

# Docker, containerd and what a node needs beside them, of the machine's own distribution.
system_packages() {
  local missing=() program
  for program in "${PROGRAMS[@]}"; do command -v "$program" >/dev/null || missing+=("$program"); done
  [ -x /usr/lib/cni/bridge ] || missing+=(/usr/lib/cni/bridge)
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "not here: ${missing[*]}; install them (on Debian: ${PACKAGES[*]})"
  need_root
  say "installing ${PACKAGES[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null
}

mkdir -p "$BIN"
exec 9>"$CLUSTER_HOME/build.lock" # two clones that begin at once build one after the other
flock 9
system_packages
install_go helm helm.sh/helm/v3 "$HELM" helm.sh/helm/v3/cmd/helm
install_go coredns github.com/coredns/coredns "$COREDNS" github.com/coredns/coredns
build_etcd
build_kubernetes
