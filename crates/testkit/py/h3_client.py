"""An HTTP/3 client on aioquic, for the interop tests and for a person at a shell.

Sends one request, or several at once on one connection, and prints one JSON object a line: status, headers, trailers,
length and SHA-256 of the body, or the error that ended it. Exit status 0 when every answer is complete.

  h3_client.py https://127.0.0.1:9889/ --ca ca.pem
  h3_client.py https://127.0.0.1:9889/upload --ca ca.pem --upload 1000000 --parallel 20
"""

import argparse
import asyncio
import hashlib
import json
import sys
from urllib.parse import urlsplit

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

PIECE = 16 * 1024


class Answer:
    """What has come back on one stream so far."""

    def __init__(self):
        self.sections = []
        self.length = 0
        self.digest = hashlib.sha256()
        self.done = asyncio.get_running_loop().create_future()

    def finish(self, error=None):
        if not self.done.done():
            self.done.set_result(error)

    def report(self, error):
        if error:
            return {"error": error, "length": self.length}
        final = next(i for i, s in enumerate(self.sections) if not dict(s)[":status"].startswith("1"))
        return {
            "status": int(dict(self.sections[final])[":status"]),
            "interim": [int(dict(s)[":status"]) for s in self.sections[:final]],
            "headers": [f for f in self.sections[final] if not f[0].startswith(":")],
            "trailers": [f for s in self.sections[final + 1 :] for f in s],
            "length": self.length,
            "sha256": self.digest.hexdigest(),
        }


class Client(QuicConnectionProtocol):
    """One HTTP/3 connection with any number of requests."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}

    async def fetch(self, method, authority, path, fields, upload):
        stream = self._quic.get_next_available_stream_id()
        answer = self.answers[stream] = Answer()
        head = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *fields]
        if upload is not None:
            head.append(("content-length", str(upload)))
        encoded = [(name.encode(), value.encode()) for name, value in head]
        self.http.send_headers(stream, encoded, end_stream=not upload)
        left = upload or 0
        while left:
            piece = min(left, PIECE)
            left -= piece
            self.http.send_data(stream, b"u" * piece, end_stream=not left)
            self.transmit()
            await asyncio.sleep(0)
        self.transmit()
        error = await answer.done
        return answer.report(error)

    def quic_event_received(self, event):
        if isinstance(event, StreamReset) and event.stream_id in self.answers:
            self.answers[event.stream_id].finish(f"reset {event.error_code:#x}")
        if isinstance(event, ConnectionTerminated):
            for answer in self.answers.values():
                answer.finish(f"closed {event.error_code:#x} {event.reason_phrase}")
        for http_event in self.http.handle_event(event):
            answer = self.answers.get(getattr(http_event, "stream_id", None))
            if answer is None:
                continue
            if isinstance(http_event, HeadersReceived):
                answer.sections.append([(n.decode(), v.decode()) for n, v in http_event.headers])
            elif isinstance(http_event, DataReceived):
                answer.length += len(http_event.data)
                answer.digest.update(http_event.data)
            if http_event.stream_ended:
                answer.finish()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--ca", help="PEM file with the only authority to trust; without it nothing is verified")
    parser.add_argument("--server-name", default="localhost", help="name for SNI and verification")
    parser.add_argument("--method", help="default GET, or POST with --upload")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--upload", type=int, metavar="BYTES", help="send so many bytes, all of them 'u'")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="requests at once on one connection")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="for everything together")
    return parser.parse_args()


async def run(options):
    url = urlsplit(options.url)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    fields = [tuple(part.strip() for part in field.split(":", 1)) for field in options.header]
    method = options.method or ("GET" if options.upload is None else "POST")
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name=options.server_name)
    if options.ca:
        configuration.load_verify_locations(options.ca)
    else:
        configuration.verify_mode = False
    port = url.port or 443
    authority = options.server_name if port == 443 else f"{options.server_name}:{port}"
    async with connect(url.hostname, port, configuration=configuration, create_protocol=Client) as client:
        fetches = [client.fetch(method, authority, path, fields, options.upload) for _ in range(options.parallel)]
        return await asyncio.gather(*fetches)


def main():
    options = arguments()
    try:
        reports = asyncio.run(asyncio.wait_for(run(options), options.timeout))
    except (OSError, asyncio.TimeoutError) as error:
        reports = [{"error": f"{type(error).__name__} {error}".strip(), "length": 0}]
    for report in reports:
        print(json.dumps(report))
    return int(any("error" in report for report in reports))


if __name__ == "__main__":
    sys.exit(main())
