"""A server on 127.0.0.1 that draws, speaks, listens and ranks, as OpenAI and Cohere do."""

from __future__ import annotations

import io
import json
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["MediaServer", "Sent", "media_server", "sound"]

DRAWN = {"created": 1, "data": [{"b64_json": "aGk="}]}
COUNTED = {
    "input_tokens": 50,
    "output_tokens": 1000,
    "total_tokens": 1050,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}
"""What a picture of gpt-image took: 10 tokens of text, 40 of pictures that were given, 1,000 drawn."""
HEARD = {
    "type": "tokens",
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 90},
}
OUT_OF_ORDER = b'{"error": {"message": "out of order", "type": "server_error"}}'
SPOKEN = bytes(range(256)) * 400


@dataclass
class Sent:
    """One request as it came."""

    path: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class MediaServer:
    """Where it is, what came, and how it fails: so many times, with this status; or silently late."""

    url: str
    sent: list[Sent] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    seconds: float = 0.0
    leaving: threading.Event = field(default_factory=threading.Event)
    page: bool = False

    def heal(self) -> None:
        """As it was made."""
        self.sent.clear()
        self.failures.clear()
        self.seconds, self.page = 0.0, False


def _answer(sent: Sent) -> tuple[str, bytes]:
    told: Any
    match "videos" if "/videos" in sent.path else sent.path.rpartition("/")[2]:
        case "speech":
            return "audio/mpeg", SPOKEN
        case "generations" | "edits":
            told = DRAWN | ({"usage": COUNTED} if b"gpt-image" in sent.body else {})
        case "transcriptions":
            if b"gpt-4o" in sent.body:
                told = {"text": "hello there", "usage": HEARD}
            else:
                told = {"text": "hello there", "usage": {"type": "duration", "seconds": 2}}
        case "rerank":
            ranked = [{"index": 0, "relevance_score": 0.9}]
            told = {"id": "r", "results": ranked, "meta": {"billed_units": {"search_units": 1}}}
        case "moderations":
            found = {"flagged": False, "categories": {}, "category_scores": {}}
            told = {"id": "m", "model": "omni-moderation-latest", "results": [found]}
        case "videos":
            told = {"id": "v", "object": "video", "status": "queued", "model": "sora-2", "seconds": "8"}
        case _:
            pages = [{"index": 0, "markdown": "# read"}, {"index": 1, "markdown": "more"}]
            told = {"pages": pages, "model": "mistral-ocr-latest", "usage_info": {"pages_processed": 2}}
    return "application/json", json.dumps(told).encode()


class Quiet(ThreadingHTTPServer):
    """Says nothing of callers who are gone."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def media_server() -> Iterator[MediaServer]:
    """An HTTP server in threads."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = Sent(self.path, self.rfile.read(int(self.headers.get("content-length") or 0)))
            told.sent.append(sent)
            if told.seconds:
                told.leaving.wait(told.seconds)
            status = told.failures.pop(0) if told.failures else 200
            kind, body = _answer(sent)
            if status != 200:
                kind, body = "application/json", OUT_OF_ORDER
            elif told.page:
                kind, body = "text/html", b"<html>Sign in</html>"
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    told = MediaServer(f"http://127.0.0.1:{server.server_port}/v1")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield told
    finally:
        told.leaving.set()
        server.shutdown()
        server.server_close()


def sound(seconds: float = 2.0) -> bytes:
    """Silence, as a file that tells how long it is."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8_000)
        written.writeframes(b"\0\0" * int(8_000 * seconds))
    return file.getvalue()
