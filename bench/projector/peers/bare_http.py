# SPDX-License-Identifier: Apache-2.0
"""`REDIS MESH PROJECTION PORT`: a bare handler on the server that ours runs on. It does the same GET of Redis, and answers what
it finds. It checks nothing, and asks nobody who he is.
"""

import gc
import sys

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.broker.records import COLLECTOR
from nerv.redis import RedisSettings, connect


async def main(url: str, mesh: str, projection: str, port: int) -> None:
    """Serve until it is ended."""
    redis = connect(RedisSettings(url=url), "bench-bare")
    prefix = f"{mesh}:{{{projection}}}:v1:"
    prefix += f"{(await redis.get(f'{prefix}epoch')).decode()}:view:"

    async def handle(request: Request) -> Response:
        found = await redis.get(prefix + request.path_params["key"])
        if found is None:
            return Response(status_code=404)
        return Response(found.rsplit(b"\n", 1)[1], 200, media_type="application/json")

    app = Starlette(routes=[Route("/v1/views/{projection}/{key:path}", handle)])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off", server_header=False,
        date_header=False,
    )  # fmt: skip
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    gc.set_threshold(*COLLECTOR)
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
