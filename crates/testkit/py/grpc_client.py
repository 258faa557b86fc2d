"""A gRPC client of the `grpcio` package. Calls every method of `grpc_server.py` and prints the results as JSON.

    grpc_client.py HOST:PORT [--ca FILE]
"""

import argparse
import json
import queue

import grpc

LIMIT = 30


def ended(call):
    """Returns the status of a call that fails."""
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def both(stream):
    """Sends each message when the previous one has come back."""
    outgoing = queue.Queue()
    answers = stream(iter(outgoing.get, None), timeout=LIMIT)
    got = []
    for number in range(5):
        outgoing.put(b"%d" % number)
        got.append(next(answers).decode())
    outgoing.put(None)
    return got + [answer.decode() for answer in answers]


def half_close(stream):
    """The server ends first, while the client's direction is open."""
    outgoing = queue.Queue()
    outgoing.put(b"first")
    answers = stream(iter(outgoing.get, None), timeout=LIMIT)
    got = [answer.decode() for answer in answers]
    outgoing.put(None)
    return [got, answers.code().name]


def run(channel):
    def of(kind, name):
        return getattr(channel, kind)(f"/test.Echo/{name}")

    answer, call = of("unary_unary", "Unary").with_call(b"hello" * 10_000, timeout=LIMIT)
    return {
        "unary": len(answer),
        "trailing": dict(call.trailing_metadata()).get("x-seen"),
        "down": len(list(of("unary_stream", "Down")(b"x" * 100, timeout=LIMIT))),
        "up": of("stream_unary", "Up")(iter([b"x"] * 50), timeout=LIMIT).decode(),
        "both": both(of("stream_stream", "Both")),
        "half_close": half_close(of("stream_stream", "HalfClose")),
        "tail": [answer.decode() for answer in of("stream_stream", "Tail")(iter([b"x"]), timeout=LIMIT)],
        "fail": ended(lambda: of("unary_unary", "Fail")(b"", timeout=LIMIT)),
        "slow": ended(lambda: of("unary_unary", "Slow")(b"", timeout=0.5))[0],
        "unknown": ended(lambda: of("unary_unary", "Unknown")(b"", timeout=LIMIT))[0],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--ca")
    options = parser.parse_args()
    if options.ca:
        with open(options.ca, "rb") as file:
            channel = grpc.secure_channel(options.target, grpc.ssl_channel_credentials(file.read()))
    else:
        channel = grpc.insecure_channel(options.target)
    with channel:
        print(json.dumps(run(channel)))


main()
