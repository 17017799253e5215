# SPDX-License-Identifier: Apache-2.0
"""`COUNT THREADS`: UmaDB, its server in a process of its own; appends of one event that fail if the stream has moved.

It synchronises each group of appends to the disk. Prints appends a second.
"""

import subprocess
import sys
import tempfile
import threading
import time

import umadb

DATA = (
    b'{"name":"a counter of things","n":%d,"by":"somebody@example.org","place":"Newark Liberty Intl","note":"on time"}'
)
SERVER = "import sys, umadb; umadb.run_server_from_args(sys.argv)"
START_SECONDS = 30.0


def write(client: "umadb.Client", number: int, left: "threading.local", lock: threading.Lock) -> None:
    """One thread: its stream is a tag, and the position of its last event the version that it expects."""
    tag, position = f"counter-{number}", None
    query = umadb.Query(items=[umadb.QueryItem(types=["counted"], tags=[tag])])
    while True:
        with lock:
            n = next(left, None)
        if n is None:
            return
        event = umadb.Event("counted", DATA % n, tags=[tag])
        position = client.append([event], umadb.AppendCondition(query, position))


def main(count: int, threads: int) -> float:
    """Appends a second."""
    with tempfile.TemporaryDirectory(prefix="nerv-bench-uma-") as folder:
        address = f"127.0.0.1:{free_port()}"
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, "--listen", address, "--db-path", f"{folder}/uma.db"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            client = opened(f"http://{address}")
            left, lock = iter(range(count)), threading.Lock()
            workers = [threading.Thread(target=write, args=(client, n, left, lock)) for n in range(threads)]
            began = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            return count / (time.perf_counter() - began)
        finally:
            server.terminate()
            server.wait()


def opened(url: str) -> "umadb.Client":
    """A client, once the server answers."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            client = umadb.Client(url)
            client.head()
            return client
        except Exception:  # whatever it raises while nobody listens
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def free_port() -> int:
    """A port that nobody has at this moment."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]), int(sys.argv[2]))}\n")
