# SPDX-License-Identifier: Apache-2.0
"""A bank whose money is moved by workflows, and whatever can befall it."""
