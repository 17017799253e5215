# SPDX-License-Identifier: Apache-2.0
"""What `deploy/check.sh` looks at, with the programs that it has built."""
