#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds Toxiproxy from source, once (half a minute; go.mod pins it), and prints where the program is.
set -euo pipefail
cd "$(dirname "$0")"
exec ../../../../deploy/check/build-go.sh . toxiproxy github.com/Shopify/toxiproxy/v2/cmd/server
