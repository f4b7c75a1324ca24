"""Who may talk to the server: pages that it served itself, under a name that is its own."""

import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from streamlit import config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The app as the README starts it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    home = str(tmp_path_factory.mktemp("home"))
    places = {"HOME": home, "XDG_CACHE_HOME": home, "XDG_DATA_HOME": home}
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(number)]
    server = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | places, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                if answer(number, "/_stcore/health").status == 200:
                    break
            except OSError:
                assert server.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        yield number
    finally:
        server.kill()
        server.wait()


def answer(port, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": f"localhost:{port}"} | headers)
    response = connection.getresponse()
    connection.close()
    return response


def handshake(port, **headers):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    return answer(port, "/_stcore/stream", **(upgrade | headers)).status


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_the_server_goes_by_the_names_of_this_machine(port, name):
    assert handshake(port, Host=f"{name}:{port}", Origin=f"http://{name}:{port}") == 101
    assert answer(port, "/", Host=f"{name}:{port}").status == 200


FOREIGN = ["evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1@evil.example",
           "127.0.0.1.evil.example:{port}", "0.0.0.0", "", "localhost:port"]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
def test_another_name_in_the_host_header_is_refused(port, host):
    host = host.format(port=port)
    assert handshake(port, Host=host) == 403
    assert handshake(port, Host=host, Origin=f"http://{host}") == 403  # a name that was made to resolve here
    assert answer(port, "/", Host=host).status in (400, 403)
    assert answer(port, "/_stcore/health", Host=host).status in (400, 403)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://evil.example", "null", "http://localhost.evil.example"]
)
def test_a_page_of_another_site_is_refused(port, origin):
    assert handshake(port, Origin=origin) == 403


def test_no_other_site_may_show_the_app_in_a_frame(port):
    found = answer(port, "/")
    assert found.getheader("X-Frame-Options") == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in found.getheader("Content-Security-Policy")


def test_nothing_of_another_site_is_fetched_by_a_page(port):
    policy = answer(port, "/").getheader("Content-Security-Policy")
    assert policy.startswith("default-src 'self'; ")
    # Where others may come from at all is inside the page itself.
    whence = {source for rule in policy.split("; ") for source in rule.split(" ")[1:]}
    assert whence == {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}


def test_a_page_that_breaks_tells_visitors_nothing_of_the_server(port):
    config.get_config_options(force_reparse=True)  # Whoever asked first may have stood in another folder.
    assert config.get_option("client.showErrorDetails") == "none"
    assert config.get_option("logger.level") not in ("debug", "DEBUG")
