"""A WebSocket server of the `websockets` package that echoes messages.

    ws_echo.py ADDRESS PORT

`/refuse` answers the handshake with 403, `/close` closes after the first message with code 4000. Each other path echoes. The
subprotocol `chat` is selected if it is offered.
"""

import asyncio
import http
import sys

import websockets
from websockets.asyncio.server import serve


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
            if socket.request.path == "/close":
                await socket.close(4000, "as asked")
    except websockets.ConnectionClosed:
        pass


def refuse(connection, request):
    if request.path == "/refuse":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not here\n")
    return None


async def main():
    address, port = sys.argv[1:]
    options = {"subprotocols": ["chat"], "max_size": None, "process_request": refuse}
    async with serve(echo, address, int(port), **options):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
