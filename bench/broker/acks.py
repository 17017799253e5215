# SPDX-License-Identifier: Apache-2.0
"""`BOOTSTRAP TOPIC COUNT RATE`: bare Kafka, so many records a second. Prints the waits for it, ms: median and 99 of 100."""

import asyncio
import statistics
import sys

import uvloop

from bench.broker.records import HEADERS, VALUE
from nerv.kafka import KafkaSettings, Outgoing, Position, Producer


async def measure(bootstrap: str, topic: str, count: int, rate: float) -> list[float]:
    """From the instant on which a record was due."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    async with Producer(KafkaSettings(bootstrap_servers=bootstrap), "bench-acks") as producer:
        await producer.publish_all([Outgoing(topic, VALUE, b"warm", HEADERS)])
        done = loop.create_future()
        begin = loop.time() + 0.05

        def send(number: int) -> None:
            due = begin + number / rate

            def acknowledged(future: "asyncio.Future[Position]") -> None:
                future.result()
                waits.append(loop.time() - due)
                if len(waits) == count:
                    done.set_result(None)

            producer.send(Outgoing(topic, VALUE, b"key-%d" % (number % 1000), HEADERS)).add_done_callback(acknowledged)
            if number + 1 < count:
                loop.call_at(begin + (number + 1) / rate, send, number + 1)

        loop.call_at(begin, send, 0)
        await done
    cuts = statistics.quantiles(waits[count // 5 :], n=100)
    return [cuts[49] * 1000, cuts[98] * 1000]


if __name__ == "__main__":
    figures = uvloop.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    sys.stdout.write(" ".join(map(str, figures)) + "\n")
