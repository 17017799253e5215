#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints the DOCKER_HOST of a Docker that answers: the one that the environment names, this machine's own, or one that is started
# here with all that it keeps under CLUSTER_HOME. `docker.sh stop` ends what was started.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh
socket=$CLUSTER_HOME/docker.sock
pid=$CLUSTER_HOME/dockerd.pid

answers() { DOCKER_HOST=$1 docker info >/dev/null 2>&1; }

running() { [ -f "$pid" ] && tr '\0' ' ' <"/proc/$(cat "$pid")/cmdline" 2>/dev/null | grep -q "$socket"; }

stop() {
  running || return 0
  kill "$(cat "$pid")"
  for _ in $(seq 100); do running || return 0; sleep 0.2; done
  say "dockerd $(cat "$pid") does not end; its log is $CLUSTER_HOME/dockerd.log"
}

start() {
  need_root
  setsid nohup dockerd --data-root "$CLUSTER_HOME/docker" --exec-root "$CLUSTER_HOME/docker-exec" \
    --pidfile "$pid" -H "unix://$socket" >"$CLUSTER_HOME/dockerd.log" 2>&1 </dev/null 9>&- &
  for _ in $(seq 150); do answers "unix://$socket" && return; sleep 0.2; done
  tail -n 20 "$CLUSTER_HOME/dockerd.log" >&2
  fail "dockerd did not start; its whole log is $CLUSTER_HOME/dockerd.log"
}

[ "${1:-}" = stop ] && { stop; exit; }
command -v docker >/dev/null || fail "no Docker: install it (on Debian: apt-get install docker.io), or run ./build.sh"
mkdir -p "$CLUSTER_HOME"
for host in ${DOCKER_HOST:+"$DOCKER_HOST"} "unix://$socket" unix:///var/run/docker.sock; do
  if answers "$host"; then echo "$host"; exit; fi
done
start
echo "unix://$socket"
