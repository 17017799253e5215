# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it: where everything lives, and what they have in common.

: "${CLUSTER_HOME:=${XDG_CACHE_HOME:-$HOME/.cache}/cluster}"
BIN=$CLUSTER_HOME/bin # programs that were built
RUN=$CLUSTER_HOME/run # the cluster that runs now; gone when it is
ADDRESS=10.250.0.1    # on `lo`: the node, and what pods reach of this machine
PODS=10.244.0.0/16
SERVICES=10.96.0.0/16
export CLUSTER_HOME PATH=$BIN:$PATH KUBECONFIG=$RUN/kubeconfig CONTAINERD_ADDRESS=$RUN/containerd.sock

say() { echo "$*" >&2; }
fail() { say "$*"; exit 1; }
need_root() { [ "$(id -u)" = 0 ] || fail "a kubelet, its network and its mounts need root: run this as root (sudo -E make cluster-test), on a machine that may be used so"; }
