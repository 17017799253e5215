# SPDX-License-Identifier: Apache-2.0
"""Benches of the components of the library."""
