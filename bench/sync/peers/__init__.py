# SPDX-License-Identifier: Apache-2.0
"""The peers of suite *sync*."""
