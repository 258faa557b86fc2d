"""A WebSocket client of the `websockets` package. Prints a line of JSON about what it saw.

    ws_client.py URL --ca FILE [--text TEXT] [--bytes N] [--subprotocol NAME]

Sends TEXT and a binary message of N bytes, expects both back, and closes.
"""

import argparse
import asyncio
import json
import ssl

import websockets

LIMIT = 60


async def run(options):
    context = ssl.create_default_context(cafile=options.ca)
    protocols = [options.subprotocol] if options.subprotocol else None
    report = {}
    try:
        async with websockets.connect(options.url, ssl=context, subprotocols=protocols, max_size=None) as socket:
            report["subprotocol"] = socket.subprotocol
            await socket.send(options.text)
            report["text"] = await socket.recv()
            sent = bytes(number % 251 for number in range(options.bytes))
            await socket.send(sent)
            report["bytes_equal"] = await socket.recv() == sent
            await socket.ping()
        report["close_code"] = socket.close_code
    except websockets.InvalidStatus as error:
        report["refused"] = error.response.status_code
    except websockets.ConnectionClosed as error:
        report["closed"] = error.rcvd.code if error.rcvd else None
    print(json.dumps(report))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--text", default="hello")
    parser.add_argument("--bytes", type=int, default=200_000)
    parser.add_argument("--subprotocol")
    asyncio.run(asyncio.wait_for(run(parser.parse_args()), LIMIT))


main()
