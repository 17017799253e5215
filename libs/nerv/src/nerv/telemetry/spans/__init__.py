# SPDX-License-Identifier: Apache-2.0
"""The spans of the last hour, kept by the mesh itself in Redis, so that a trace can be looked at without any collector.

`recent` takes them from the SDK, `keeper` brings them into the `store`, as `document`s, within `bounds`.
"""
