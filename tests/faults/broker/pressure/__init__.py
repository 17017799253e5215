# SPDX-License-Identifier: Apache-2.0
"""More than a broker can take, while Kafka is away."""
