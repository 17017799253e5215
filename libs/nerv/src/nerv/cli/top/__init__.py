# SPDX-License-Identifier: Apache-2.0
"""`nerv top`: the mesh while it runs."""
