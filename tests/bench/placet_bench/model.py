"""A model at the edge that answers at once: `python -m placet_bench.model`. Its port is its first line.

It speaks as much of the chat completions protocol as a risk assessment needs. What is measured is the way
to a model and back, not a model.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RISK = {"result": "assessed", "risk": 0.6, "confidence": 0.7, "reasoning": "A payment to an account."}
ANSWER = json.dumps(
    {
        "id": "bench",
        "object": "chat.completion",
        "created": 0,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": json.dumps(RISK)},
            }
        ],
    }
).encode()


class Handler(BaseHTTPRequestHandler):
    """Every question has the same answer."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second would wait for an acknowledgement.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """The answer."""
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def main() -> None:
    """Until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_arguments: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
