#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the image of the five services: BASE_IMAGE and TAG by the environment. Its labels name the commit and when that was made,
# so that one commit makes one image, whenever it is built.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' libs/nerv/pyproject.toml)
tag=${TAG:-nerv-mesh:$version}
revision=$(git rev-parse HEAD 2>/dev/null || true)
[ -z "$revision" ] || [ -z "$(git status --porcelain -- libs services requirements deploy/docker)" ] || revision+=-dirty
source=$(git config --get remote.origin.url || true)
"${DOCKER:-docker}" build --file deploy/docker/Dockerfile --tag "$tag" \
  ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"} \
  --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
  --build-arg "CREATED=$(git log -1 --format=%cI 2>/dev/null || true)" \
  --build-arg "SOURCE=$(sed 's#//[^/@]*@#//#' <<<"$source")" .
echo "built $tag"
