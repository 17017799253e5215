# SPDX-License-Identifier: Apache-2.0
"""What both sides send and read: records of 256 bytes with five headers. Plain Python: peers import this, too."""

# How often the collector looks for circles: as the mesh's services set it, and for the peers alike.
COLLECTOR = (300_000, 20, 100)
HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"bench.noted.v1"),
    ("ce_source", b"bench"),
    ("content-type", b"application/json"),
]
VALUE = b'{"n": 1, "text": "%s"}' % (b"x" * 230)
BATCH = 500  # records that wait together
IN_FLIGHT = 24  # such batches at the same time: an eighth of what the bare loop has in flight
TAKEN = 5000  # records in one batch of a consumer
