"""Memory of a server: at rest, after warm-up, and after many calls."""

from dataclasses import dataclass

from tests.benchmarks.load import Target, put_load_on


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory, threads and open files of a server before and after `calls` calls."""

    name: str
    warm_up: int
    calls: int
    at_rest_mib: float
    first_mib: float
    warm_mib: float
    lasting_mib: float
    warm_threads: int
    warm_files: int
    threads: int
    files: int
    per_second: float

    @property
    def growth(self) -> float:
        """How much larger it is than after warm-up: 0.05 for 5 %."""
        return self.lasting_mib / self.warm_mib - 1


async def watch_memory(target: Target, *, warm_up: int, calls: int, clients: int) -> Memory:
    """Load a server that has answered nothing yet, and look at it between."""
    server = target.server
    at_rest = server.memory_mib
    await put_load_on(target, calls=1, clients=1)
    first = server.memory_mib
    await put_load_on(target, calls=warm_up, clients=clients)
    warm, threads, files = server.memory_mib, server.threads, server.open_files
    load = await put_load_on(target, calls=calls, clients=clients)
    return Memory(
        name=target.name,
        warm_up=warm_up,
        calls=calls,
        at_rest_mib=at_rest,
        first_mib=first,
        warm_mib=warm,
        lasting_mib=server.memory_mib,
        warm_threads=threads,
        warm_files=files,
        threads=server.threads,
        files=server.open_files,
        per_second=load.per_second,
    )
