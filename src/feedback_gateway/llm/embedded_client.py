"""The embedded student behind the completion protocol: no network, no key, no cost."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from feedback_gateway.calls.models import Call
from feedback_gateway.errors import ProviderRejected, TaskUnsupported
from feedback_gateway.llm.models import Completion, CompletionRequest, Usage

if TYPE_CHECKING:
    from feedback_gateway.embedded.student import Student, StudentAnswer

UNSUPPORTED = (
    "the embedded model does not do {task!r}; add a language model to `model_list` "
    "and name its alias in `tasks.{task}.model`"
)


class EmbeddedClient:
    """Answers from the request's task and item, not from its messages; works in threads of its own.

    The student, with the libraries it computes with, is loaded by the first request, once. Taxonomies with many
    examples are learned one after the other in a thread that nobody else waits for.
    """

    def __init__(self, *, threads: int = 2) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="student")
        self._learner = ThreadPoolExecutor(1, thread_name_prefix="student-learn")
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
        """Answer the request's first item. Raises TaskUnsupported for tasks that need a language model."""
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
            try:
                return await loop.run_in_executor(self._executor, ask, student, request)
            except Unlearned as needed:
                await loop.run_in_executor(self._learner, student.choosers.learn, needed.labels)

    async def aclose(self) -> None:
        """Let the threads go; what runs in them is finished first, what waits for them is not."""
        for executor in (self._executor, self._learner):
            executor.shutdown(wait=True, cancel_futures=True)


def load_student() -> "Student":
    """The student, with the libraries it computes with."""
    from feedback_gateway.embedded.student import Student  # noqa: PLC0415 a process without it stays small

    return Student.load()


def ask(student: "Student", request: CompletionRequest) -> "StudentAnswer":
    """What the student says of the request's first item. Raises TaskUnsupported or ProviderRejected."""
    from feedback_gateway.embedded.student import UnsupportedTask  # noqa: PLC0415 likewise

    try:
        return student.answer_soon(request.task, request.items[0], request.taxonomy)
    except UnsupportedTask:
        raise TaskUnsupported(UNSUPPORTED.format(task=request.task)) from None
    except ValueError as error:
        raise ProviderRejected(str(error)) from None
