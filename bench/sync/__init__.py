# SPDX-License-Identifier: Apache-2.0
"""Suite *sync*: the DiffSynchronizer beside diffsync itself, which it stands on."""
