"""Two gateways over one PostgreSQL and one Redis: each is restarted under load, and no call is lost or made twice."""

import asyncio
import http.client
import itertools
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import psycopg
import pytest

from feedback_gateway.llm.scripted_server import ScriptedServer, scripted_server
from tests.faults.gateways import GatewayProcess, gateway_process
from tests.faults.provider import deployment, severity
from tests.servers import postgres_server, running_redis

pytestmark = pytest.mark.anyio

CALLERS = 6
DEADLINE_S = 120.0
BUSY = 200


class Callers:
    """Several callers that ask one gateway after the other, for as long as they are not told to stop.

    Where a gateway refuses a call, or is not there, they ask the next one for the same.
    """

    def __init__(self, gateways: list[GatewayProcess]) -> None:
        self.answered: Counter[str] = Counter()
        self.refused = 0
        self.broken: list[str] = []
        """Calls of which nobody knows whether they were begun."""
        self._turn = itertools.cycle([gateway.url for gateway in gateways])
        self._stopped = False
        self._heard = asyncio.Event()

    async def answers(self, count: int) -> None:
        """Return once so many more calls were answered."""
        until = sum(self.answered.values()) + count
        while sum(self.answered.values()) < until and not self.broken:
            self._heard.clear()
            await self._heard.wait()

    def stop(self) -> None:
        """Begin no more calls."""
        self._stopped = True

    async def run(self) -> None:
        """Call until they are told to stop."""
        await asyncio.gather(*(self._call(f"{caller}") for caller in range(CALLERS)))

    async def _call(self, caller: str) -> None:
        async with httpx.AsyncClient(timeout=60) as client:
            for number in itertools.count():
                if self._stopped:
                    return
                while not await self._ask(client, f"{caller}-{number}"):
                    self.refused += 1
                self._heard.set()

    async def _ask(self, client: httpx.AsyncClient, name: str) -> bool:
        """Whether it was answered."""
        try:
            answer = await client.post(f"{next(self._turn)}/v1/severity", json={"id": name, "text": f"Lost {name}"})
        except httpx.ConnectError:
            return False
        except httpx.TransportError as error:
            self.broken.append(f"{name}: {error!r}")
            return True
        if answer.status_code == 503:
            assert answer.json()["type"] == "urn:feedback-gateway:problem:unavailable", answer.text
            return False
        assert answer.status_code == 200, answer.text
        self.answered[answer.json()["id"]] += 1
        return True


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedServer]:
    """A provider that takes 20 ms."""
    async with scripted_server(severity(delay_s=0.02)) as server:
        yield server


async def test_rolling_restart_loses_no_call(tmp_path: Path, provider: ScriptedServer) -> None:
    """Every call is answered once, and the log and the provider know as many; nothing is reserved or complained of."""
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        settings = {
            "database_url": postgres.url(),
            "redis_url": stack.enter_context(running_redis(tmp_path)).url,
            "model_list": [deployment(provider, rpm=100_000)],
        }
        gateways = [stack.enter_context(gateway_process(tmp_path / name, settings)) for name in ("a", "b")]
        callers = Callers(gateways)
        calling = asyncio.create_task(callers.run())
        codes = []
        async with asyncio.timeout(DEADLINE_S):
            for gateway in gateways:
                await callers.answers(50)
                codes.append(await asyncio.to_thread(gateway.stop))
                await asyncio.to_thread(gateway.start)
            await callers.answers(50)
            callers.stop()
            await calling
        codes += [await asyncio.to_thread(gateway.stop) for gateway in gateways]

        with psycopg.connect(postgres.url()) as connection:
            logged = connection.execute("SELECT count(*), count(DISTINCT call_id) FROM calls").fetchone()
            held = connection.execute("SELECT count(*) FROM reservations").fetchone()

    calls = sum(callers.answered.values())
    assert callers.broken == []
    assert set(callers.answered.values()) == {1}
    assert (logged, held, len(provider.heard)) == ((calls, calls), (0,), calls)
    assert callers.refused > 0
    assert codes == [0, 0, 0, 0]
    complaints = [line for gateway in gateways for line in gateway.errors.splitlines()]
    assert [line for line in complaints if "Redis" not in line] == []  # on a busy machine it is slow now and then


class Insistent:
    """Callers in threads of their own who come back at once, each time by a new connection, until nobody lets them in.

    `told` counts the statuses of their answers, `broken` names what left them in doubt.
    """

    def __init__(self, port: int, *, count: int) -> None:
        self.told: Counter[int] = Counter()
        self.broken: list[str] = []
        self._port = port
        self._busy = threading.Event()
        self._threads = [threading.Thread(target=self._insist) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        assert self._busy.wait(DEADLINE_S)

    def end(self) -> None:
        """Return once all were turned away."""
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _insist(self) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                connection.request("GET", "/v1/models")
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                return
            finally:
                connection.close()
            self.told[answer.status] += 1
            if self.told.total() > BUSY:
                self._busy.set()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_gateway_that_ends_leaves_nobody_in_doubt(tmp_path: Path, workers: str) -> None:
    """Who comes back at once is answered, refused or not let in, and never cut off after having asked."""
    with gateway_process(tmp_path / "a", {}, "--workers", workers) as gateway:
        insistent = Insistent(gateway.port, count=16)
        code = gateway.stop()
        insistent.end()

    assert insistent.broken == []
    assert set(insistent.told) <= {200, 503}
    assert code == 0
