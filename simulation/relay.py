"""A TCP relay on loopback, between a program and a server: it can hold, reset, refuse and delay.

A relay that holds is a network that went silent, as seen by both programs: connections stay open and nothing comes
through. What was sent meanwhile comes through later, as it does when a network sends again what was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST


class Relay:
    """Takes connections on `port` and passes them on to `target`, until `close`. delay: seconds each way."""

    def __init__(self, target: tuple[str, int], *, delay: float = 0.0) -> None:
        self.delay = delay
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._thread.start()
        self._flows: asyncio.Event
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self._run(self._open())

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self) -> None:
        """Let nothing through any more, in either direction; new connections are taken and stay silent, too."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def restore(self) -> None:
        """Let everything through: what was held, and new connections."""
        self._loop.call_soon_threadsafe(self._flows.set)
        self._run(self._open())

    def reset(self) -> None:
        """End every connection with a reset, on both sides. New ones are taken."""
        self._run(self._end_all())

    def refuse(self) -> None:
        """End every connection and take no new one, as a server that is down."""
        self._run(self._shut())

    def close(self) -> None:
        """End everything."""
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _open(self) -> None:
        if not self.port:
            self._flows = asyncio.Event()
            self._flows.set()
        elif self._server.is_serving():
            return
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        self._server.close()
        await self._end_all()

    async def _end_all(self) -> None:
        for writer in self._writers:
            with contextlib.suppress(OSError):  # it has ended already
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        other = None
        try:
            await self._flows.wait()
            back, other = await asyncio.open_connection(*self._target)
            self._writers.add(other)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, other))
                both.create_task(self._pass_on(back, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass  # one side has ended: so does the other
        finally:
            for one in (writer, other):
                if one is not None:
                    one.close()
                    self._writers.discard(one)
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await waiting.get()
                await asyncio.sleep(due - self._loop.time())
                await self._flows.wait()
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        async with asyncio.TaskGroup() as both:
            both.create_task(deliver())
            while data := await reader.read(1 << 16):
                waiting.put_nowait((self._loop.time() + self.delay, data))
            waiting.put_nowait((self._loop.time() + self.delay, b""))
