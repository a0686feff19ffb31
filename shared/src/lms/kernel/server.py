"""The HTTP server of a process: uvicorn in our own event loop, which drains before it stops.

server = HttpServer(app, "127.0.0.1", 8000)
await server.start()
await server.drain(1.0)  # still answers, and asks each client to come on another connection
await server.stop()
"""

import asyncio
import contextlib
import socket

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lms.kernel.waiting import at_most

_CLOSE = (b"connection", b"close")
_LINGER_SECONDS = 0.1
"""What was accepted last gets so long to send its request."""
_NOTICE_SECONDS = 0.3
"""uvicorn looks ten times a second whether it should stop, and waits a little itself."""


class HttpServer:
    """uvicorn without its signal handlers: the process stops in our order.

    `inherited` is the descriptor of a listening socket that the process manager holds for several copies of the
    process: the server listens there too. Restarting a copy then refuses no connection, for the socket stays open and
    the others accept.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, inherited: int | None = None) -> None:
        self._draining = False
        self._host = host
        self._port = port
        self._inherited = inherited
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._closing(app),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_keep_alive=75,
                server_header=False,
                proxy_headers=False,  # the gateway alone decides which proxies it believes
                date_header=True,
            )
        )
        self.task: asyncio.Task[None]

    async def start(self) -> None:
        """Listen; return once the port is open. Raises OSError when it is taken."""
        sockets = [_listening(self._host, self._port)]
        if self._inherited is not None:
            sockets.append(socket.socket(fileno=self._inherited))
        self._server.config.load()
        self._server.lifespan = self._server.config.lifespan_class(self._server.config)
        self.task = asyncio.create_task(self._serve(sockets))
        while not self._server.started and not self.task.done():  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.005)
        if self.task.done():
            await self.task

    async def _serve(self, sockets: list[socket.socket]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await self._server._serve(sockets)  # noqa: SLF001  # serve() would replace our signal handlers

    async def drain(self, seconds: float) -> None:
        """Go on for so long, and close each connection with the answer that it waits for.

        Whoever balances requests over the copies sees meanwhile that this one is not ready, and sends none here any
        more; on a socket that is shared the other copies accept from now on. So nobody's request meets the closing of a
        connection.
        """
        self._draining = True
        for shared in self._server.servers[1:]:
            shared.close()
        await asyncio.sleep(seconds)

    async def stop(self, seconds: float) -> None:
        """Stop accepting and let requests in hand finish, for at most so long in all; then cut them off."""
        self._draining = True
        for listening in self._server.servers:
            listening.close()
        await asyncio.sleep(_LINGER_SECONDS)
        most = max(0.1, seconds - _LINGER_SECONDS - _NOTICE_SECONDS)
        self._server.config.timeout_graceful_shutdown = most  # type: ignore[assignment]  # asyncio takes fractions
        self._server.should_exit = True
        await at_most(most + _NOTICE_SECONDS, self.task)

    def _closing(self, app: ASGIApp) -> ASGIApp:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            async def marked(message: Message) -> None:
                if self._draining and message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), _CLOSE]
                await send(message)

            await app(scope, receive, marked)

        return application


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address. Raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(error.errno, f"{host}:{port} cannot be listened on: {error.strerror}") from None
    return listening
