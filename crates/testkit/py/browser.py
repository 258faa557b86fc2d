"""Loads a page several times in headless Chromium and prints the values of its promise `result` as a JSON list.

    browser.py CHROMIUM URL --certificate FILE [--loads N]

Chromium accepts the certificate of FILE, on QUIC too.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
from urllib.parse import urlsplit

import websockets
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LIMIT = 120


class Page:
    """A page, controlled over the DevTools protocol."""

    def __init__(self, socket):
        self.socket, self.number, self.events = socket, 0, []

    async def call(self, method, **params):
        """Calls a method and returns its result."""
        self.number += 1
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)

    async def evaluate(self, expression):
        """Returns the value of an expression, and of its promise if it is one."""
        answer = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def wait(self, expression):
        """Waits until an expression is true."""
        while not await self.evaluate(expression):
            await asyncio.sleep(0.02)

    async def load(self, url):
        """Loads a page and returns the value of `result`."""
        await self.call("Page.navigate", url=url)
        await self.wait("document.readyState == 'complete' && typeof result == 'object'")
        return await self.evaluate("result")


@contextlib.asynccontextmanager
async def new_page(endpoint):
    """Opens an empty page in the browser with this endpoint of the DevTools protocol."""
    host = urlsplit(endpoint).netloc
    async with websockets.connect(endpoint, max_size=None) as browser:
        target = (await Page(browser).call("Target.createTarget", url="about:blank"))["targetId"]
        async with websockets.connect(f"ws://{host}/devtools/page/{target}", max_size=None) as socket:
            yield Page(socket)


async def run(endpoint, options):
    async with new_page(endpoint) as page:
        print(json.dumps([await page.load(f"{options.url}?load={number}") for number in range(options.loads)]))


def public_key_hash(path):
    with open(path, "rb") as file:
        key = x509.load_pem_x509_certificate(file.read()).public_key()
    return base64.b64encode(hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest())


def with_chromium(chromium, arguments, use):
    """Starts Chromium, and awaits `use` with the endpoint of its DevTools protocol."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        fixed = ["--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [chromium, *fixed, *arguments, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            for line in process.stderr:
                found = re.search(r"DevTools listening on (\S+)", line)
                if found:
                    break
            else:
                raise RuntimeError("Chromium did not start")
            asyncio.run(asyncio.wait_for(use(found[1]), LIMIT))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("chromium")
    parser.add_argument("url")
    parser.add_argument("--certificate", required=True)
    parser.add_argument("--loads", type=int, default=1)
    options = parser.parse_args()
    arguments = [
        f"--ignore-certificate-errors-spki-list={public_key_hash(options.certificate).decode()}",
        # Names a port that is not used: it only makes Chromium accept this authority on QUIC.
        f"--origin-to-force-quic-on={urlsplit(options.url).hostname}:1",
    ]
    with_chromium(options.chromium, arguments, lambda endpoint: run(endpoint, options))


if __name__ == "__main__":
    main()
