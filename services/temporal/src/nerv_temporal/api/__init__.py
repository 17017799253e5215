# SPDX-License-Identifier: Apache-2.0
"""What the routes of temporal do: append, read, and show the partitions."""
