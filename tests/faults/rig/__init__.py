# SPDX-License-Identifier: Apache-2.0
"""Meshes of two replicas on a Kafka of their own, behind Toxiproxy, to be killed, frozen and cut off."""

from tests.faults.rig.meshes import PARTITIONS, Mesh, MeshSpec, Replica, Rig, rig

__all__ = ["PARTITIONS", "Mesh", "MeshSpec", "Replica", "Rig", "rig"]
