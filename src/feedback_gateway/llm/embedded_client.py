"""The embedded student behind the completion protocol: no network, no key, no cost."""

import asyncio
import functools
import json
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderRejected, TaskUnsupported
from feedback_gateway.llm.models import Completion, CompletionRequest, Usage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from feedback_gateway.embedded.embedders import Embedder
    from feedback_gateway.embedded.student import Student, StudentAnswer

UNSUPPORTED = (
    "the embedded model does not do {task!r}; add a language model to `model_list` "
    "and name its alias in `tasks.{task}.model`"
)


TOGETHER = 8
"""Requests that a thread answers in one turn: handing over costs a quarter of what an answer does."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request, and where its answer goes; nobody waits any more once that is done."""

    request: CompletionRequest
    answer: "asyncio.Future[StudentAnswer]"

    def settle(self, outcome: "StudentAnswer | Exception") -> None:
        """Give the answer, or raise the error, where the request is awaited."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class EmbeddedClient:
    """Answers from the request's task and item, not from its messages; works in threads of its own.

    The student, with the libraries it computes with, is loaded by the first request, once. Taxonomies with many
    examples are learned one after the other in a thread that nobody else waits for.
    """

    def __init__(self, *, threads: int = 2) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="student")
        self._learner = ThreadPoolExecutor(1, thread_name_prefix="student-learn")
        self._threads = threads
        self._waiting: deque[Waiting] = deque()
        self._working = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._student: Student | None = None

    async def warm_up(self) -> "Student":
        """Load the student now rather than with the first request."""
        async with self._loading:
            if self._student is None:
                self._student = await asyncio.get_running_loop().run_in_executor(self._executor, load_student)
            return self._student

    async def prepare(self) -> None:
        """Load the student, once."""
        await self.warm_up()

    async def complete(self, request: CompletionRequest, call: Call) -> Completion:  # noqa: ARG002 the protocol's
        """Answer the request's one item. Raises TaskUnsupported for several, and for tasks of a language model."""
        if len(request.items) > 1:
            raise TaskUnsupported("the embedded model answers items one by one")
        student = self._student or await self.warm_up()
        answer = await self._ask(student, request)
        return Completion(
            content=json.dumps(answer.value, ensure_ascii=False),
            finish_reason="stop",
            model="embedded/student",
            usage=Usage(),
            value=answer.value,
            confidence_source="classifier",
            needs_review=answer.needs_review,
        )

    async def _ask(self, student: "Student", request: CompletionRequest) -> "StudentAnswer":
        from feedback_gateway.embedded.labelling import Unlearned  # noqa: PLC0415 a process without it stays small

        loop = asyncio.get_running_loop()
        while True:
            answer: asyncio.Future[StudentAnswer] = loop.create_future()
            self._waiting.append(Waiting(request, answer))
            if self._working < self._threads:
                self._working += 1
                self._workers.add(worker := loop.create_task(self._work(student)))
                worker.add_done_callback(self._workers.discard)
            try:
                return await answer
            except Unlearned as needed:
                await loop.run_in_executor(self._learner, student.choosers.learn, needed.labels)

    async def _work(self, student: "Student") -> None:
        """Answer what waits, a few requests a turn of a thread."""
        taken: list[Waiting] = []
        try:
            while self._waiting:
                share = min(TOGETHER, -(-len(self._waiting) // self._threads))
                taken = [self._waiting.popleft() for _ in range(share)]
                taken = [waiting for waiting in taken if not waiting.answer.done()]
                if not taken:
                    continue
                requests = [waiting.request for waiting in taken]
                outcomes = await asyncio.get_running_loop().run_in_executor(self._executor, ask_each, student, requests)
                for waiting, outcome in zip(taken, outcomes, strict=True):
                    waiting.settle(outcome)
        finally:
            self._working -= 1
            for waiting in taken:
                waiting.answer.cancel()

    async def aclose(self) -> None:
        """Let the threads go; what runs in them is finished first, what waits for them is not."""
        for waiting in self._waiting:
            waiting.answer.cancel()
        self._waiting.clear()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for executor in (self._executor, self._learner):
            executor.shutdown(wait=True, cancel_futures=True)


@functools.cache
def load_student() -> "Student":
    """The student, with the libraries it computes with: one a process, shared with those that it forks afterwards."""
    from feedback_gateway.embedded.student import Student  # noqa: PLC0415 a process without it stays small

    return Student.load()


def names_alike(names: Sequence[str]) -> "npt.NDArray[np.bool_]":
    """Which names say about the same, shape (len(names), len(names)); loads the embedder alone. Blocks."""
    embedder = load_names_embedder()
    rows = embedder.embed(names)
    table: npt.NDArray[np.bool_] = rows @ rows.T >= embedder.alike
    return table


def sentence_vectors(texts: Sequence[str]) -> "npt.NDArray[np.float32]":
    """A unit row a text, shape (len(texts), dimensions); loads the embedder alone. Blocks."""
    from feedback_gateway.embedded.text import clean  # noqa: PLC0415 a process without it stays small

    return load_names_embedder().embed([clean(text) for text in texts])


@functools.cache
def load_names_embedder() -> "Embedder":
    """The embedder, once a process."""
    from feedback_gateway.embedded.embedders import default_embedder, load_embedder  # noqa: PLC0415 likewise

    return load_embedder(default_embedder())


def ask_each(student: "Student", requests: Sequence[CompletionRequest]) -> "list[StudentAnswer | Exception]":
    """What the student says of each request, or the error that it ends with."""
    outcomes: list[StudentAnswer | Exception] = []
    for request in requests:
        try:
            outcomes.append(ask(student, request))
        except Exception as error:  # noqa: BLE001 raised again where the request is awaited
            outcomes.append(error)
    return outcomes


def ask(student: "Student", request: CompletionRequest) -> "StudentAnswer":
    """What the student says of the request's first item. Raises TaskUnsupported or ProviderRejected."""
    from feedback_gateway.embedded.student import UnsupportedTask  # noqa: PLC0415 likewise

    try:
        return student.answer_soon(request.task, request.items[0], request.taxonomy)
    except UnsupportedTask:
        raise TaskUnsupported(UNSUPPORTED.format(task=request.task)) from None
    except ValueError as error:
        raise ProviderRejected(str(error)) from None
