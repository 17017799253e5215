# SPDX-License-Identifier: Apache-2.0
"""The projector: pure folds of the app over history, as read models in Redis."""
