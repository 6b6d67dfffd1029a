"""The service as a process: real sockets, real signals."""

import signal
import socket
import threading
import time

import httpx
import pytest

from tercet.cli import main
from tercet.errors import UsageError
from tercet.inference.service.server import listen


def test_a_taken_port_and_a_port_that_is_none_are_refused_in_a_sentence():
    with listen(0) as first:
        address, port = first.getsockname()
        assert address == "127.0.0.1"  # which no other machine reaches
        with pytest.raises(UsageError, match=rf"port {port} is taken by another program; give another by --port"):
            listen(port)
    with listen(port):  # free again at once
        pass
    for port in (-1, 65536):
        with pytest.raises(UsageError, match="expected 0 to 65535"):
            listen(port)


def test_it_prints_its_address_answers_refuses_a_second_and_ends_with_status_0(run, image, start, tmp_path, capsys):
    process, address = start("--model", str(run), "--port", "0")
    with httpx.Client(base_url=address) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.post("/api/search", content=image).json()["neighbors"][0]["index"] == 7
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        assert client.post("/api/embed", content=image, headers={"Origin": "http://evil.example"}).status_code == 403
        assert main(["serve", "--model", str(run), "--port", address.rpartition(":")[2]]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("tercet: port ")
        assert said.err.count("\n") == 1
        assert said.out == ""
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert process.stdout.read() == (tmp_path / "log.txt").read_text() == ""


@pytest.mark.slow
def test_an_answer_does_not_wait_for_an_acknowledgement(run, start):
    _, address = start("--model", str(run), "--port", "0")
    with httpx.Client(base_url=address) as client:
        seconds = [client.get("/healthz").elapsed.total_seconds() for _ in range(40)]
    assert sorted(seconds)[10] < 0.02  # Linux delays an acknowledgement by 40 ms


def send_half(address: str, length: int) -> socket.socket:
    """A request whose body has not come yet."""
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall(f"POST /api/predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode())
    connection.settimeout(30)
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_under_way_is_answered_before_the_end(run, image, start, number):
    process, address = start("--model", str(run), "--port", "0")
    with send_half(address, len(image)) as connection, httpx.Client(base_url=address) as client:
        assert client.get("/healthz").status_code == 200  # so the half before has arrived
        process.send_signal(number)
        time.sleep(0.3)
        assert process.poll() is None
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/healthz")
        connection.sendall(image)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b'"predicted":' in answer
    assert process.wait(30) == 0


@pytest.mark.slow
def test_a_second_signal_cuts_and_the_status_says_so(run, start, tmp_path):
    process, address = start("--model", str(run), "--port", "0")
    with send_half(address, 1000) as connection, httpx.Client(base_url=address) as client:
        assert client.get("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
        assert time.monotonic() - begun < 3
        assert connection.recv(65536).startswith(b"HTTP/1.1 503")
    assert (tmp_path / "log.txt").read_text() == ""


@pytest.mark.slow
def test_a_full_queue_is_refused_over_the_wire(run, image, start):
    slow = (
        "import functools, time; from tercet.inference.service import application as a, workers as w; "
        "w.Workers = functools.partial(w.Workers, threads=1, most_waiting=1); "
        "a.embed = lambda *given, embed=a.embed: time.sleep(1) or embed(*given)"
    )
    _, address = start("--model", str(run), "--port", "0", before=slow)
    answers = []
    ask = lambda: answers.append(httpx.post(f"{address}/api/predict", content=image, timeout=30))  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200, 503, 503, 503, 503]
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)


@pytest.mark.slow
def test_a_body_that_does_not_come_is_given_up_and_the_sender_told(run, start):
    hasty = "from tercet.inference.service import uploads; uploads.BODY_SECONDS = 0.3"
    _, address = start("--model", str(run), "--port", "0", before=hasty)
    with send_half(address, 1000) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


@pytest.mark.slow
def test_a_sender_who_leaves_is_no_fault(run, start, tmp_path):
    process, address = start("--model", str(run), "--port", "0")
    send_half(address, 1000).close()
    assert httpx.get(f"{address}/healthz").status_code == 200
    process.terminate()
    assert process.wait(30) == 0
    assert (tmp_path / "log.txt").read_text() == ""


@pytest.mark.slow
def test_slow_senders_do_not_hold_up_the_others(run, image, start):
    _, address = start("--model", str(run), "--port", "0")
    slow = [send_half(address, 1000) for _ in range(200)]
    with httpx.Client(base_url=address) as client:
        assert all(client.post("/api/predict", content=image, timeout=5).status_code == 200 for _ in range(20))
    for connection in slow:
        connection.close()
