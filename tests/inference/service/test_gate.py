import pytest
from starlette.datastructures import Headers

from tercet.inference.service.gate import refusal


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "LOCALHOST:8000", "127.0.0.1:1"])
def test_our_own_names_pass_and_their_pages_too(host):
    assert refusal(Headers({"host": host})) is None
    assert refusal(Headers({"host": host, "origin": f"http://{host.lower()}"})) is None


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example"),
        *("127x0.0.1", "localhost:8000:8000", "localhost:", "localhost\n", "[::1]:8000", "0.0.0.0:8000"),
    ],
)
def test_other_names_are_refused(host):
    assert refusal(Headers({"host": host})).status_code == 421


def test_a_body_without_a_length_is_refused():
    assert refusal(Headers({"host": "localhost", "transfer-encoding": "chunked"})).status_code == 411


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "https://localhost:8000",
        "http://localhost",
        "http://127.0.0.1:8000",
        "file://",
    ],
)
def test_pages_from_elsewhere_are_refused(origin):
    assert refusal(Headers({"host": "localhost:8000", "origin": origin})).status_code == 403
