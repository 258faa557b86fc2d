"""A gRPC server of the `grpcio` package. Messages are plain bytes.

    grpc_server.py ADDRESS PORT

| method of `test.Echo` | does |
|---|---|
| Unary | returns the message, and the trailing metadata `x-seen: yes` |
| Down | returns as many messages as the request has bytes |
| Up | returns the number of messages |
| Both | returns each message at once, and ends when the client does |
| HalfClose | returns one message for the first one and ends, although the client has not |
| Tail | returns three messages after the client has ended |
| Fail | NOT_FOUND with the details `no such thing` |
| Slow | never returns |
"""

import sys
import threading
import time
from concurrent import futures

import grpc


def unary(message, context):
    context.set_trailing_metadata((("x-seen", "yes"),))
    return message


def down(message, context):
    for number in range(len(message)):
        yield b"%d" % number


def up(messages, context):
    return b"%d" % sum(1 for _ in messages)


def both(messages, context):
    yield from messages


def half_close(messages, context):
    yield next(messages)


def tail(messages, context):
    for _ in messages:
        pass
    for number in range(3):
        time.sleep(0.05)
        yield b"%d" % number


def fail(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def slow(message, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait()
    return b""


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "HalfClose": grpc.stream_stream_rpc_method_handler(half_close),
    "Tail": grpc.stream_stream_rpc_method_handler(tail),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}


def main():
    address, port = sys.argv[1:]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", METHODS),))
    server.add_insecure_port(f"{address}:{port}")
    server.start()
    server.wait_for_termination()


main()
