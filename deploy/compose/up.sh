#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Start the mesh of docker-compose.yml, and wait until the front page says that every part is ready. LAYERS="observability" adds
# deploy/compose/observability.yml. `down` as the first word stops it again; what follows goes to Compose (`down --volumes`).
set -euo pipefail
cd "$(dirname "$0")/../.."
compose=(docker compose)
"${compose[@]}" version >/dev/null 2>&1 || compose=(docker-compose) # the older one, a program of its own
compose+=(-f docker-compose.yml)
for layer in ${LAYERS:-}; do
  compose+=(-f "deploy/compose/$layer.yml")
done
if [ "${1:-}" = down ]; then
  exec "${compose[@]}" "$@"
fi

"${compose[@]}" up --detach "$@"
echo "waiting until all parts are ready"
deadline=$((SECONDS + 180))
until state=$("${compose[@]}" exec -T front healthcheck 2>&1); do
  if [ "$SECONDS" -ge "$deadline" ]; then
    printf 'not ready after 180 s: %s\nlook at it: %s logs\n' "$state" "${compose[*]}" >&2
    exit 1
  fi
  sleep 2
done
echo "the mesh is ready after $SECONDS s: http://127.0.0.1:8080"
