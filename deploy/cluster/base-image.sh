#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A stand-in for the official python:3.11-slim where no registry of images is reached: Debian with its own Python, as the local
# image that the first argument names. Give it to the builds: make image BASE_IMAGE=local/python-base:3.11
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh
tag=${1:-local/python-base:3.11}
suite=bookworm # its Python is 3.11
root=$CLUSTER_HOME/rootfs-$suite

docker image inspect "$tag" >/dev/null 2>&1 && exit
need_root
if [ ! -x "$root/bin/sh" ]; then
  say "fetching a small Debian ($suite), this once"
  rm -rf "$root.new" # a half fetched one
  nice -n 15 debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,python-is-python3,ca-certificates \
    "$suite" "$root.new" >"$CLUSTER_HOME/debootstrap.log" || { tail -n 20 "$CLUSTER_HOME/debootstrap.log" >&2; exit 1; }
  mv "$root.new" "$root"
fi
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt" # pip in a build trusts whom this machine trusts
rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
rm -rf "$root"/var/cache/apt/{archives/*.deb,*.bin} "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
tar -C "$root" -c . | docker import \
  -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  -c 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' \
  -c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
  -c 'CMD ["python3"]' - "$tag" >/dev/null
