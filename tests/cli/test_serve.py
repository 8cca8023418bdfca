"""`serve` answers once it says so, stays on this machine, and ends when it is told to."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import uvicorn

from feedback_gateway.cli.server import AnnouncingServer, is_loopback

Start = Callable[..., "subprocess.Popen[bytes]"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def announced(process: "subprocess.Popen[bytes]") -> str:
    """The URL in the line that says the gateway is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().decode()
    assert line.startswith("Feedback Gateway is ready at http://127.0.0.1:")
    return line.split()[-1]


def directories(process: "subprocess.Popen[bytes]") -> list[Path]:
    """Where its workers count together."""
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return [one for place in places for one in place.glob(f"feedback-gateway-metrics-{process.pid}-*")]


def post(url: str, body: object) -> dict[str, object]:
    """The JSON that a POST is answered with."""
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, object] = json.load(response)
    return answer


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGINT)])
def test_the_gateway_answers_when_it_says_so(start: Start, workers: str, number: int) -> None:
    """At the port it found free, in one process or two; a signal ends it well and leaves nothing to complain about."""
    process = start("serve", "--port", "0", "--workers", workers)
    url = announced(process)

    answer = post(f"{url}/v1/severity", {"id": "a", "text": "It crashes"})
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)

    assert answer["id"] == "a"
    assert (process.returncode, output, errors) == (0, b"", b"")


def test_a_terminal_is_told_that_the_model_is_being_loaded(tmp_path: Path) -> None:
    """And when it is there; a program that reads the output is not."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "feedback_gateway", "serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs)
    os.close(theirs)

    with os.fdopen(ours, encoding="utf-8") as terminal:
        lines = [terminal.readline().strip() for _ in range(3)]
        process.terminate()
        assert process.wait(timeout=60) == 0

    assert lines[0].startswith("Feedback Gateway is ready at ")
    assert lines[1].startswith("The embedded model is being loaded; ")
    assert lines[2] == "The embedded model is loaded."


def test_workers_read_the_configuration_that_was_named(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever it lies."""
    config = tmp_path_factory.mktemp("config") / "other.yaml"
    config.write_text("limits: {text_chars: 10}\n")
    process = start("serve", "--port", "0", "--workers", "2", "--config", str(config))
    url = announced(process)

    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{url}/v1/severity", {"text": "x" * 11})

    assert refused.value.code == 422
    assert b"limits.text_chars" in refused.value.read()
    refused.value.close()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("prompts: mine", "mine/a.v1.prompt:1: "),
        ("taxonomy: gone.yaml", "gone.yaml: "),
        ("database_url: sqlite:////nowhere/at/all.db", "database_url: "),
    ],
)
def test_a_configuration_that_cannot_work_is_one_line(
    run: Run, tmp_path: Path, setting: str, said: str, workers: str
) -> None:
    """On standard error, with exit 2."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.v1.prompt").write_text("no front matter\n")
    (tmp_path / "gateway.yaml").write_text(setting)

    done = run("serve", "--port", "0", "--workers", workers)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"feedback-gateway: {said}")


def test_a_request_in_flight_is_finished_after_the_signal(start: Start) -> None:
    """It was begun before; the exit is a good one."""
    process = start("serve", "--port", "0")
    port = int(announced(process).rpartition(":")[2])
    body = b'{"id": "a", "text": "It crashes"}'

    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = f"POST /v1/severity HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        connection.sendall(f"{head}\r\nexpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        process.send_signal(signal.SIGTERM)
        connection.sendall(body)
        answer = connection.recv(100_000)

    assert answer.startswith(b"HTTP/1.1 200")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, b"", b"")


def test_bytes_that_are_no_http_are_refused_as_a_problem(start: Start) -> None:
    """Before any application sees them; the connection is closed."""
    address = urllib.parse.urlsplit(announced(start("serve", "--port", "0")))

    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall("GET /v1/calls?limit=１ HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["type"] == "urn:feedback-gateway:problem:invalid-request"


def test_headers_without_end_are_refused(start: Start) -> None:
    """Nobody makes the gateway keep what it cannot even route."""
    address = urllib.parse.urlsplit(announced(start("serve", "--port", "0")))

    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: a\r\nx-much: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"a" * 65_536)
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"headers are larger than 64 KiB" in answer


def test_a_prompt_that_breaks_while_serving_is_told(start: Start, tmp_path: Path) -> None:
    """In one line on standard error, which names the file."""
    process = start("serve", "--port", "0")
    announced(process)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.v1.prompt").write_text("no front matter\n")

    assert process.stderr is not None
    line = process.stderr.readline().decode()

    assert line.startswith("feedback-gateway: WARNING: ")
    assert "prompts/a.v1.prompt:1: " in line


def test_each_worker_tells_the_metrics_of_all(start: Start) -> None:
    """Whichever of them is asked, and the directory that they share is gone with them."""
    process = start("serve", "--port", "0", "--workers", "2")
    url = announced(process)
    (directory,) = directories(process)
    for number in range(20):
        post(f"{url}/v1/severity", {"text": f"It crashes on page {number}"})

    told = set()
    for _ in range(10):
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
            lines = response.read().decode().splitlines()
        told |= {line for line in lines if line.startswith("feedback_gateway_calls_total{")}
    process.terminate()
    process.communicate(timeout=60)

    labels = 'cached="false",model="default",status="ok",task="severity"'
    assert told == {f"feedback_gateway_calls_total{{{labels}}} 20.0"}
    assert not directory.exists()


def test_what_a_killed_gateway_left_in_memory_goes_at_the_next_start(start: Start) -> None:
    """And nothing of one that lives."""
    killed, living = (start("serve", "--port", "0", "--workers", "2") for _ in range(2))
    announced(killed)
    announced(living)
    killed.kill()
    killed.communicate(timeout=60)  # its workers hear of that and end
    (left,), (kept,) = directories(killed), directories(living)

    announced(start("serve", "--port", "0"))

    assert not left.exists()
    assert kept.exists()


def test_a_request_is_a_line_of_the_log_where_that_is_wanted(start: Start, tmp_path: Path) -> None:
    """As JSON, with its ids, and without what was written."""
    (tmp_path / "gateway.yaml").write_text("log: {format: json, level: info}")
    process = start("serve", "--port", "0")
    url = announced(process)

    request = urllib.request.Request(f"{url}/nowhere/{'secret'}?q=secret", headers={"x-call-id": "mine"})
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(request, timeout=30)
    missing.value.close()
    assert process.stderr is not None
    line = process.stderr.readline().decode()

    document = json.loads(line)
    assert (document["method"], document["route"], document["status"]) == ("GET", None, 404)
    assert (document["client_call_id"], document["consumer"]) == ("mine", "local")
    assert document["call_id"] == missing.value.headers["x-request-id"]
    assert "secret" not in line


def test_a_port_that_is_taken_is_named(run: Run) -> None:
    """Exit 2 and the mend."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", "--port", str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert "Address already in use; choose another, or 0 for any" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_addresses_need_no_key(host: str) -> None:
    """Only this machine can reach them."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "localhost.example.com", ""])
def test_every_other_address_does(host: str) -> None:
    """Names of machines too: nobody knows what they stand for tomorrow."""
    assert not is_loopback(host)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_other_addresses_are_refused_until_there_is_an_admin_key(run: Run, start: Start, workers: str) -> None:
    """Without keys everyone who reaches the gateway would be its admin; with one nobody comes in without."""
    arguments = ("serve", "--host", "0.0.0.0", "--port", "0", "--workers", workers)
    refused = run(*arguments)
    key = run("keys", "create", "--admin").stdout.strip()
    process = start(*arguments)
    assert process.stdout is not None
    url = process.stdout.readline().decode().split()[-1].replace("0.0.0.0", "127.0.0.1")

    with pytest.raises(urllib.error.HTTPError) as anonymous:
        post(f"{url}/v1/severity", {"text": "It crashes"})
    request = urllib.request.Request(f"{url}/v1/calls", headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        known = response.status

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "there is no admin key" in refused.stderr
    assert anonymous.value.code == 401
    anonymous.value.close()
    assert known == 200


def test_a_signal_closes_the_door_at_once() -> None:
    """Before uvicorn gets round to it; a balancer that asks is told."""
    closed: list[str] = []
    config = uvicorn.Config("app:none")
    server = AnnouncingServer(config, on_ready=lambda: None, refuse_new=lambda: closed.append("now"))

    server.handle_exit(signal.SIGTERM, None)

    assert (closed, server.should_exit) == (["now"], True)
