#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ends the cluster and puts back what it changed of this machine: mounts, routes, rules, sysctls. Harmless where there is none.
# `down.sh --after` does so when its standard input closes, which it does however the program ends that holds the other end.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
. ./settings.sh

[ "${1:-}" = --after ] && { trap '' INT HUP; cat >/dev/null; }
[ -d "$RUN" ] || exit 0
need_root

# A process id may have become somebody else's, after a restart of the machine.
ours() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -qF "$RUN"; }

end() { # seconds name...: SIGTERM to all, and SIGKILL to those that are still there after so long
  local seconds=$1 name pid left=()
  shift
  for name in "$@"; do
    pid=$(cat "$RUN/$name.pid" 2>/dev/null) && ours "$pid" && kill "$pid" 2>/dev/null && left+=("$pid")
  done
  local deadline=$((SECONDS + seconds))
  for pid in "${left[@]}"; do
    while ours "$pid" && [ $SECONDS -lt $deadline ]; do sleep 0.1; done
    ours "$pid" && kill -9 "$pid" 2>/dev/null
  done
}

# The controllers first: nobody starts again what is ended.
end 5 coredns kube-proxy kube-scheduler kube-controller-manager kubelet
for group in /sys/fs/cgroup/kubepods /sys/fs/cgroup/pids/kubepods; do # all that runs in pods
  [ -d "$group" ] && find "$group" -name cgroup.procs -exec cat {} + | sort -u | xargs -r kill -9 2>/dev/null
done
end 2 kube-apiserver # it would wait up to a minute for those that watch
end 5 etcd containerd
pgrep -f "containerd-shim.*$RUN/containerd.sock" | xargs -r kill -9

kube-proxy --cleanup >/dev/null 2>&1
for table in filter nat mangle; do
  iptables -t $table -F KUBE-PROXY-CANARY 2>/dev/null
  iptables -t $table -X KUBE-PROXY-CANARY 2>/dev/null
done
for chain in INPUT OUTPUT; do iptables -D $chain -j KUBE-FIREWALL 2>/dev/null; done
iptables -F KUBE-FIREWALL 2>/dev/null
iptables -X KUBE-FIREWALL 2>/dev/null
for direction in -s -d; do iptables -D FORWARD $direction "$PODS" -j ACCEPT 2>/dev/null; done
# The masquerading of pods, whose end nobody has told the network's plugin.
chains=$(iptables-save -t nat | grep 'name: ."cluster' | grep -oE 'CNI-[0-9a-f]{24}' | sort -u)
[ -n "$chains" ] && iptables-save -t nat | grep -vF "$chains" | iptables-restore -w -T nat
ip route del "$SERVICES" dev lo 2>/dev/null
ip link del cni0 2>/dev/null
ip addr del "$ADDRESS/32" dev lo 2>/dev/null
mount | awk -v run="$RUN/" 'index($3, run) == 1 {print $3}' | sort -r | xargs -r umount -l
ip netns list 2>/dev/null | awk '/^cni-/ {print $1}' | xargs -r -n 1 ip netns delete 2>/dev/null
for group in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
  [ -d "$group" ] && find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
done
[ -f "$RUN/sysctl.before" ] && sysctl -q -p "$RUN/sysctl.before"
rm -rf "$RUN"
