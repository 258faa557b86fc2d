"""An HTTP/1.1 server that answers each GET with three server-sent events.

    events.py ADDRESS PORT

It sends an event every 50 ms and ends with the third.
"""

import http.server
import sys
import time


class Events(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("x-accel-buffering", "no")
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(3):
            self.wfile.write(b"data: %d\n\n" % number)
            self.wfile.flush()
            time.sleep(0.05)
        self.close_connection = True

    def log_message(self, *_):
        pass


address, port = sys.argv[1:]
http.server.ThreadingHTTPServer((address, int(port)), Events).serve_forever()
