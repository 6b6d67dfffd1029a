"""What a hostile client sends to the service: bytes, by what they try.

Each of `REQUESTS` and `bodies()` is to be refused: a status of 4xx, or a connection that ends without a word.
"""

from __future__ import annotations

import io
import pickle
import random
import struct
import zlib
from functools import cache

from PIL import Image

OWN = "Host: localhost"
FORM = "Content-Type: multipart/form-data; boundary=x"


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """A request that asks for the connection to be closed after it."""
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([line, *headers, *length, "Connection: close", "", ""]).encode("latin-1") + body


def get(path: str, *headers: str) -> bytes:
    return request(f"GET {path} HTTP/1.1", OWN, *headers)


def post(body: bytes, *headers: str, path: str = "/api/predict") -> bytes:
    return request(f"POST {path} HTTP/1.1", OWN, *headers, body=body)


def head_only(*headers: str, after: bytes = b"") -> bytes:
    """A POST whose body is announced in another way than by its length, or falsely."""
    return "\r\n".join(["POST /api/predict HTTP/1.1", OWN, *headers, "", ""]).encode("latin-1") + after


SMUGGLED = get("/healthz")
CHUNKED = b"0\r\n\r\n" + SMUGGLED

REQUESTS = {
    # Names and origins.
    **{f"host {host!r}": request("GET / HTTP/1.1", f"Host: {host}") for host in ("evil.example", "", "localhost.evil")},
    "host of a user": request("GET / HTTP/1.1", "Host: localhost@evil.example"),
    "two hosts": request("GET / HTTP/1.1", OWN, "Host: evil.example"),
    "no host": request("GET / HTTP/1.1"),
    "no host in HTTP/1.0": request("GET / HTTP/1.0"),
    "foreign address": get("http://evil.example/"),
    "foreign origin": post(b"x", "Origin: http://evil.example"),
    "origin null": post(b"x", "Origin: null"),
    # Paths.
    **{
        path: get(path)
        for path in (
            *("/../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/.%2e/run.json"),
            *("//etc/passwd", "/%2fetc%2fpasswd", "/..%5c..%5cwindows", "/C:%5cwindows", "file:///etc/passwd"),
            *("/%00", "/page.css%00.png", "/%ff%fe", "/%c0%ae%c0%ae/etc/passwd", "/%0d%0aX-Evil:%20yes", "*"),
            *("/model/config.json", "/embeddings.npz", "/page.html", "/api/../run.json", "/<script>", "/x/.." * 900),
        )
    },
    "NUL in the path": get("/\0"),
    "bytes in the path": get("/\xff\xfe"),
    # Heads.
    "a long header": get("/", "X: " + "y" * 300_000),
    "many headers": get("/", *["X: y"] * 30_000),
    "a long name of a header": get("/", "X" * 100_000 + ": y"),
    "a header of a header": get("/", "X: a\nX-Evil: yes\0"),
    "a line within the question": post(b"x", path="/api/predict?k=1%0d%0aX-Evil:%20yes"),
    "a line within the question, raw": post(b"x", path="/api/predict?k=1\rX-Evil: yes"),
    "no colon": get("/", "X"),
    "a space before the colon": get("/", "X : y"),
    # Methods and protocols.
    **{
        method: request(f"{method} / HTTP/1.1", OWN)
        for method in ("TRACE", "PUT", "DELETE", "PATCH", "get", "G" * 9000)
    },
    "CONNECT": request("CONNECT evil.example:443 HTTP/1.1", OWN),
    "a method of two words": request("GET / / HTTP/1.1", OWN),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "HTTP/0.9": b"GET /\r\n",
    "h2c": get("/api/predict", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
    "WebSocket": get("/api/predict", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(128, 256)) * 4 + b"\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "garbage": random.Random(0).randbytes(50_000),
    # One request that a proxy and a server may read as two.
    "CL and TE": head_only(f"Content-Length: {len(CHUNKED)}", "Transfer-Encoding: chunked", after=CHUNKED),
    "TE and CL": head_only("Transfer-Encoding: chunked", "Content-Length: 3", after=CHUNKED),
    "TE": head_only("Transfer-Encoding: chunked", after=b"1\r\nx\r\n" + CHUNKED),
    "TE of another kind": head_only("Transfer-Encoding: xchunked", after=CHUNKED),
    "TE twice": head_only("Transfer-Encoding: chunked", "Transfer-Encoding: identity", after=CHUNKED),
    "TE damaged": head_only("Transfer-Encoding: chunked", after=b"no chunk\r\n"),
    "CL twice": head_only("Content-Length: 1", "Content-Length: 2", after=b"x" + SMUGGLED),
    "CL as a list": head_only("Content-Length: 1, 2", after=b"x" + SMUGGLED),
    **{f"CL {length}": head_only(f"Content-Length: {length}") for length in ("-1", "+1", "0x1", "1e9", "9" * 400)},
    "CL shorter than the body": head_only("Content-Length: 1", after=b"x" + SMUGGLED),
}


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of black and white dots that is as large as it says, without pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("1", (1, 1)).save(content, "GIF")
    return content.getvalue()[:6] + struct.pack("<HH", width, height) + content.getvalue()[10:]


def passes(count: int, side: int = 7_000) -> bytes:
    """A progressive JPEG whose last pass comes again and again: 0.14 s of work for 75 bytes."""
    content = io.BytesIO()
    Image.new("L", (side, side), 90).save(content, "JPEG", progressive=True)
    whole = content.getvalue()
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * count + whole[-2:]


def form(count: int, disposition: str = 'form-data; name="a"', content: bytes = b"") -> bytes:
    part = f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return part * count + b"--x--\r\n"


def nested(depth: int) -> bytes:
    """Forms in forms, none of which has a file."""
    opened = (f"--x{level}\r\nContent-Type: multipart/mixed; boundary=x{level + 1}\r\n\r\n" for level in range(depth))
    return b"--x\r\n" + "".join(opened).encode()


class Canary:
    """Unpickled, it makes a name in `builtins`, which nothing looks for: that it is no image is enough."""

    def __reduce__(self) -> tuple[object, ...]:
        return exec, ("import builtins; builtins.canary = 1",)


@cache
def bodies() -> dict[str, bytes]:
    """Made when asked for, which takes seconds."""
    zeros = zlib.compress(bytes(200_000_000), 9)  # 200 kB
    texts = b"".join(chunk(b"zTXt", b"k%d\0\0" % number + zlib.compress(bytes(1_000_000), 9)) for number in range(400))
    return {
        "PNG of 2.5 gigapixels": post(png(50_000, 50_000)),
        "PNG of 100 megapixels": post(png(10_000, 10_000)),
        "GIF of 4 gigapixels": post(gif(65_535, 65_535)),
        "iCCP that unpacks to 200 MB": post(png(8, 8, chunk(b"iCCP", b"p\0\0" + zeros))),
        "zTXt that unpacks to 200 MB": post(png(8, 8, chunk(b"zTXt", b"k\0\0" + zeros))),
        "iTXt that unpacks to 200 MB": post(png(8, 8, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros))),
        "400 texts that unpack to 400 MB": post(png(8, 8, texts)),
        "JPEG of 60,000 passes": post(passes(60_000)),
        "a body that unpacks": post(zeros, "Content-Encoding: deflate"),
        "10,000 fields": post(form(10_000), FORM),
        "10,000 files": post(form(10_000, 'form-data; name="a"; filename="b"'), FORM),
        "a part of a million headers": post(b"--x\r\n" + b"a:b\r\n" * 900_000, FORM),
        "a part of a long header": post(b"--x\r\na: " + b"b" * 4_900_000, FORM),
        "forms 1,000 deep": post(nested(1_000), FORM),
        "almost boundaries": post(b"\r\n--" * 1_200_000, FORM),
        "a long boundary": post(form(1), "Content-Type: multipart/form-data; boundary=" + "x" * 12_000),
        "no boundary": post(form(1), "Content-Type: multipart/form-data"),
        "many options": post(form(1), "Content-Type: multipart/form-data" + "; a=b" * 2_000),
        "brackets": post(b"[" * 1_000_000, "Content-Type: application/json"),
        "SVG": post(
            b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "Content-Type: image/svg+xml"
        ),
        "HTML": post(b"<html><script>alert(1)</script>", "Content-Type: text/html"),
        "pickle": post(pickle.dumps(Canary()), "Content-Type: application/octet-stream"),
        "noise": post(random.Random(1).randbytes(1_000_000)),
        "5 MB and one byte": post(bytes(5_000_001)),
        "nothing": post(b""),
    }


# Names that a browser may send for a file; none is kept, and none comes back.
NAMES = (
    *("<img src=x onerror=alert(1)>.png", "../../evil.png", "/etc/passwd", "a\0.png", "\x1b]0;evil\x07.png"),
    *("\r\nX-Evil: yes", '"; filename="b.png', "x" * 4_000 + ".png", "ö‮gnp.png", "%2e%2e%2fevil.png", "CON"),
)
