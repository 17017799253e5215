# SPDX-License-Identifier: Apache-2.0
"""Machines that look for lives of the components of the library that break a promise."""
