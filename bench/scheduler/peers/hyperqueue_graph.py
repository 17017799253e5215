# SPDX-License-Identifier: Apache-2.0
"""The peer HyperQueue: `chain|fan COUNT`: tasks of a graph a second, on one worker. A task is a program there: `true`."""

import os
import sys
import tempfile
import time

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig


def main(what, count):
    """The graph; a small one before it warms up."""
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        with LocalCluster(worker_config=WorkerConfig(cores=1)) as cluster:
            client = cluster.client()
            for size in (10, count):
                job = Job()
                before = []
                for _ in range(size):
                    task = job.program(["true"], stdout=None, stderr=None, deps=before)
                    before = [task] if what == "chain" else []
                began = time.perf_counter()
                client.wait_for_jobs([client.submit(job)])
                seconds = time.perf_counter() - began
    print(count / seconds, flush=True)
    os._exit(0)  # its server runs in this process and takes its time to end


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
