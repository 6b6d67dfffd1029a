"""A connection over real sockets, with an application that answers nothing but a letter."""

import asyncio
import time

import pytest
import uvicorn
from uvicorn.server import ServerState

from tercet.inference.service import connection
from tercet.inference.service.connection import Connection

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def letter(scope, receive, send):
    if scope["path"] == "/body":
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"x"})


@pytest.fixture
def talk(monkeypatch):
    """A function that sends pieces and gives what comes until the end, and the seconds until then."""
    for name in ("HEAD_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(connection, name, 0.4)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.6)

    async def converse(pieces, app):
        config = uvicorn.Config(app, http=Connection, log_config=None, lifespan="off", timeout_keep_alive=5)
        config.load()
        state, loop = ServerState(), asyncio.get_running_loop()
        async with await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            started, answer = time.monotonic(), b""
            try:
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.02)
                answer = await asyncio.wait_for(reader.read(), 5)
            except ConnectionError:
                pass
            writer.close()
            return answer, time.monotonic() - started

    return lambda *pieces, app=letter: asyncio.run(converse(pieces, app))


def test_a_head_that_does_not_come_ends_the_connection(talk):
    for pieces in ((), (b"GET / HT",), tuple(GET[place : place + 1] for place in range(20))):
        answer, seconds = talk(*pieces)
        assert answer == b""
        assert 0.3 < seconds < 2


def test_a_second_request_is_answered_and_has_its_own_time(talk):
    answer, seconds = talk(GET, GET)
    assert answer.count(b"200 OK") == 2
    assert 0.4 < seconds < 2


def test_an_answer_that_takes_too_long_is_cut(talk):
    async def never(scope, receive, send):
        await asyncio.sleep(5)

    answer, seconds = talk(GET, app=never)
    assert answer == b""
    assert 0.3 < seconds < 2


def test_the_rest_of_a_refused_body_is_thrown_away_and_then_the_connection_cut(talk):
    answer, seconds = talk(HEAD + b"Content-Length: 999999\r\n\r\n", b"some")
    assert answer.count(b"200 OK") == 1  # told at once, though the body never ends
    assert seconds < 0.4
    endless = (b"x" * 50_000 for _ in range(1000))
    answer, seconds = talk(HEAD + b"Content-Length: 99999999999\r\n\r\n", *endless)
    assert seconds < 2


def test_what_comes_before_the_answer_is_not_answered(talk):
    answer, _ = talk(GET + GET)
    assert answer.count(b"200 OK") == 1
    answer, _ = talk(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET)
    assert answer.count(b"HTTP/1.1") == 1
    answer, seconds = talk(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert seconds < 0.4  # told that there is no more, rather than left to wait


def test_a_body_that_is_no_longer_http_stops_the_answer_to_its_head(talk, caplog):
    answer, _ = talk(HEAD.replace(b"/ ", b"/body ") + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert "Exception" not in caplog.text


@pytest.mark.parametrize("lines", [b"X: y\r\n" * 5_000, b"X: " + b"y" * 30_000])
def test_a_long_head_is_refused_before_all_of_it_is_read(talk, lines):
    answer, _ = talk(GET[:-2] + lines + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400") or not answer  # a connection that is reset loses its answer


def test_too_many_connections_are_cut(talk, monkeypatch):
    monkeypatch.setattr(connection, "MOST_OPEN", 0)
    assert talk(GET)[0] == b""
