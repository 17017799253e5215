# SPDX-License-Identifier: Apache-2.0
"""Batches of appends, and of reads, by somebody who may append to, and read, some streams alone."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from nerv.api.history.v1 import history_pb2
from nerv.app import App
from nerv.client.streams import PROTOBUF
from nerv.cloudevents import to_proto
from nerv.limits import Limits
from nerv.protocols import Appended, AppendOutcome, AppendRequest
from nerv.service import Authenticator
from nerv.service.http import application
from nerv.types import Event
from nerv_temporal.api.deps import Deps
from nerv_temporal.handlers import ROUTES
from nerv_temporal.settings import TemporalSettings
from tests.unit.service.asking import ask, bearer
from tests.unit.service.issuing import settings, token

NOON = datetime(2013, 1, 15, 12, tzinfo=UTC)


class Appending:
    """Where what is let in goes."""

    def __init__(self) -> None:
        self.streams: list[str] = []

    async def append(self, requests: Sequence[AppendRequest], headers: dict[str, str]) -> list[AppendOutcome]:
        """Done, each."""
        self.streams += [request.stream for request in requests]
        return [Appended(1, 1, 0, 0, NOON) for request in requests]


async def test_each_stream_of_a_batch_is_asked_for(tmp_path: Path) -> None:
    """Those that the token may write are appended to; of the others each is refused in its own answer."""
    router = Appending()
    deps = Deps(TemporalSettings(), App("none"), router, None, None, None, None)  # type: ignore[arg-type]  # one route
    app = application(ROUTES, deps, Authenticator(settings(tmp_path), insecure=False), Limits())
    event = to_proto(Event("1", "test", "thing.noted.v1", NOON, b"{}"))
    requests = [
        history_pb2.AppendRequest(stream=stream, events=[event], expect=history_pb2.EXPECT_ANY)
        for stream in ("account-1", "secret-1", "account-2")
    ]
    headers = bearer(token("streams:append:account-*")) | {"content-type": PROTOBUF}
    body = history_pb2.AppendBatch(requests=requests).SerializeToString()
    answer = await ask(app, "POST", "/v1/streams", headers, body)
    reply = history_pb2.AppendBatchReply.FromString(answer.body)
    assert router.streams == ["account-1", "account-2"]
    assert [one.WhichOneof("outcome") for one in reply.replies] == ["appended", "refused", "appended"]
    assert "streams:append:secret-1" in str(reply.replies[1])


async def test_nothing_is_told_of_a_stream_that_may_not_be_read(tmp_path: Path) -> None:
    """One such name refuses the question; so do no name at all, and more of them than the limit."""
    deps = Deps(TemporalSettings(), App("none"), None, None, None, None, None)  # type: ignore[arg-type]  # never asked
    app = application(ROUTES, deps, Authenticator(settings(tmp_path), insecure=False), Limits())
    headers = bearer(token("streams:read:account-*")) | {"content-type": PROTOBUF}
    for streams, status, words in (
        (["account-1", "secret-1"], 403, "streams:read:secret-1"),
        ([], 400, "1 to 500 streams"),
        (["account-1"] * 501, 413, "NERV_LIMITS__BATCH"),
    ):
        body = history_pb2.LatestRequest(streams=streams).SerializeToString()
        answer = await ask(app, "POST", "/v1/streams/latest", headers, body)
        assert (answer.status, words in answer.body.decode()) == (status, True)
