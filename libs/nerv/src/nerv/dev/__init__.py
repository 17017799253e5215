# SPDX-License-Identifier: Apache-2.0
"""The local stack: a real Kafka, a real Redis and the services as processes of this machine."""
