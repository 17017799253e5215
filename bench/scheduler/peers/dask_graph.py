# SPDX-License-Identifier: Apache-2.0
"""The peer dask.distributed: `chain|fan COUNT`: no-op tasks of a graph a second, on one worker process."""

import sys
import time

from distributed import Client, LocalCluster


def noop(*given):
    """Nothing."""
    return


def main(what, count):
    """The graph twice; the first time does not count."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        for _ in range(2):
            began = time.perf_counter()
            if what == "chain":
                last = client.submit(noop, pure=False)
                for _ in range(count - 1):
                    last = client.submit(noop, last, pure=False)
            else:
                last = client.submit(len, client.map(noop, range(count), pure=False), pure=False)
            last.result()
            seconds = time.perf_counter() - began
    print(count / seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
