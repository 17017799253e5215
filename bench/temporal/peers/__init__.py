# SPDX-License-Identifier: Apache-2.0
"""What *temporal* is measured beside; each is a program that prints its figure."""
