# SPDX-License-Identifier: Apache-2.0
"""Dead letters for people: browse, look inside, edit, replay, discard; each decision is an event."""
