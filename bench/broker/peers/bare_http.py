# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP TOPIC PORT`: a bare handler on the server that ours runs on. It writes what it gets by the same produce, and answers
where it stands. It checks nothing, and asks nobody who he is.
"""

import gc
import sys

import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.broker.records import COLLECTOR
from nerv.kafka import KafkaSettings, Outgoing, Position, Producer


def record(topic: str, event: dict[str, object]) -> Outgoing:
    """The record of an event."""
    data = event["data"]
    assert isinstance(data, dict)
    headers = [
        ("ce_specversion", b"1.0"), ("ce_id", str(event["id"]).encode()), ("ce_source", str(event["source"]).encode()),
        ("ce_type", str(event["type"]).encode()), ("ce_time", str(event["time"]).encode()),
        ("content-type", b"application/json"),
    ]  # fmt: skip
    return Outgoing(topic, orjson.dumps(data), str(data["name"]).encode(), headers)


async def main(bootstrap: str, topic: str, port: int) -> None:
    """Serve until it is ended."""
    async with Producer(KafkaSettings(bootstrap_servers=bootstrap), "bench-bare") as producer:

        async def handle(request: Request) -> Response:
            found = orjson.loads(await request.body())
            events = found if isinstance(found, list) else [found]
            places = await producer.publish([record(topic, event) for event in events])
            told = [{"partition": p.partition, "offset": p.offset} for p in places if isinstance(p, Position)]
            return Response(orjson.dumps({"events": told}), 200, media_type="application/json")

        app = Starlette(routes=[Route("/v1/topics/{topic}/events", handle, methods=["POST"])])
        config = uvicorn.Config(
            app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off", server_header=False,
            date_header=False,
        )  # fmt: skip
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
