#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The container that holds a pod's namespaces: pause.c alone in an empty image, as local/pause:3.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh

docker image inspect local/pause:3 >/dev/null 2>&1 && exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
gcc -O2 -static -s -o "$folder/pause" pause.c
tar -C "$folder" -c pause | docker import -c 'USER 65535:65535' -c 'ENTRYPOINT ["/pause"]' - local/pause:3 >/dev/null
