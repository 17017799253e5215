# SPDX-License-Identifier: Apache-2.0
"""The scheduler: durable workflows. Truth is the stream `run-<id>` in temporal; Redis says who works on what."""
