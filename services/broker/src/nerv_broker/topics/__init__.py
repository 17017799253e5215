# SPDX-License-Identifier: Apache-2.0
"""Topics: which there are, what they hold and who lags behind, made by request; and bare records into them."""
