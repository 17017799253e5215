# SPDX-License-Identifier: Apache-2.0
"""The temporal store: event-sourced history on Kafka, one fenced writer a partition."""
