#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Images of Kafka and Redis for a machine that reaches no image registry: local/kafka from the jars of `nerv dev`, local/redis
# from Debian's packages. Needs `make setup`, Docker, debootstrap and BASE_IMAGE, an image of a Debian with bash.
set -euo pipefail
cd "$(dirname "$0")/../../.."
: "${BASE_IMAGE:?an image that Kafka goes on, such as local/python-base:3.11}"
docker=${DOCKER:-docker}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mkdir "$scratch/kafka"
cp deploy/compose/local/kafka/* "$scratch/kafka/"
.venv/bin/python - "$scratch/kafka" <<'PY'
import os, shutil, sys
from pathlib import Path
from nerv.dev import jars
target = Path(sys.argv[1])
(target / "jars").mkdir()
for jar in jars.install().class_path.split(os.pathsep):
    shutil.copy(jar, target / "jars")
shutil.copytree(jars.java().parent.parent, target / "java")
PY
version=$(.venv/bin/python -c 'from nerv.dev.jars import VERSION; print(VERSION)')
"$docker" build --build-arg "BASE_IMAGE=$BASE_IMAGE" --tag "local/kafka:$version" "$scratch/kafka"

[ "$("$docker" images -q local/redis:debian)" ] || {
  debootstrap --variant=minbase --include=redis-server "${SUITE:-bookworm}" "$scratch/redis" >"$scratch/redis.log" ||
    { tail -n 20 "$scratch/redis.log" >&2; exit 1; }
  rm -rf "$scratch"/redis/var/{cache/apt/archives,lib/apt/lists}/* "$scratch"/redis/usr/share/{doc,man,locale}/*
  install -d -m 777 "$scratch/redis/data"
  tar -C "$scratch/redis" -c . |
    "$docker" import -c 'USER redis' -c 'WORKDIR /data' -c 'VOLUME ["/data"]' -c 'CMD ["redis-server"]' - local/redis:debian
}
echo "KAFKA_IMAGE=local/kafka:$version REDIS_IMAGE=local/redis:debian"
