# SPDX-License-Identifier: Apache-2.0
"""Input that nobody would write: against the parsers (Atheris) and against the broker's door (Schemathesis)."""
