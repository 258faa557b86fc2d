"""An HTTP client of the `httpx` package. Sends all requests with one client and prints what it got as JSON.

    httpx_client.py URL --ca FILE [--http2]

The server returns at `/echo` what it gets, and has pages of pattern bytes at `/page-<length>`.
"""

import argparse
import asyncio
import hashlib
import json
import ssl

import httpx

LIMIT = 60
UPLOAD = bytes(number % 251 for number in range(400_000))
PIECE = 30_000
PARALLEL = 20


def sha256(data):
    return hashlib.sha256(data).hexdigest()


async def pieces():
    """Yields an upload of unknown length."""
    for start in range(0, len(UPLOAD), PIECE):
        yield UPLOAD[start : start + PIECE]


async def download(client, path):
    """Reads a response piece by piece."""
    digest, length, count = hashlib.sha256(), 0, 0
    async with client.stream("GET", path) as response:
        response.raise_for_status()
        async for piece in response.aiter_raw():
            digest.update(piece)
            length, count = length + len(piece), count + 1
    return {"length": length, "sha256": digest.hexdigest(), "in_pieces": count > 1}


async def run(options):
    connections = 0

    async def trace(event, _):
        nonlocal connections
        connections += event == "connection.connect_tcp.complete"

    async def traced(request):
        request.extensions["trace"] = trace

    context = ssl.create_default_context(cafile=options.ca)
    async with httpx.AsyncClient(
        base_url=options.url,
        verify=context,
        http1=not options.http2,
        http2=options.http2,
        timeout=LIMIT,
        trust_env=False,
        event_hooks={"request": [traced]},
    ) as client:
        page = await client.get("/page-10")
        report = {"version": page.http_version, "via": page.headers.get("via"), "page": sha256(page.content)}
        for name, content in [("upload", UPLOAD), ("upload_in_pieces", pieces())]:
            answer = await client.post("/echo", content=content)
            report[name] = answer.status_code == 200 and answer.content == UPLOAD
        report["download"] = await download(client, "/page-3000000")
        report["missing"] = (await client.get("/nothing")).status_code
        report["connections"] = connections
        pages = await asyncio.gather(*(client.get("/page-100000") for _ in range(PARALLEL)))
        report["parallel"] = sorted({sha256(page.content) for page in pages})
        report["connections_of_parallel"] = connections - report["connections"]
    print(json.dumps(report))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--http2", action="store_true")
    asyncio.run(asyncio.wait_for(run(parser.parse_args()), LIMIT))


main()
