"""What a session asks of those who analyse its frames, whether they are processes here or workers of a cluster."""

from __future__ import annotations

from typing import Protocol

from monitor.workers.pool import Finished
from monitor.workers.worker import Ready, Task


class WorkerPool(Protocol):
    """Workers with one frame each. Called from one thread alone."""

    @property
    def ready(self) -> Ready | None:
        """What the workers are, None until the first has begun."""

    @property
    def tasks(self) -> list[tuple[Task, float]]:
        """What is being analysed, and since when [s, steady clock]."""

    def free(self) -> bool:
        """Whether a task would begin at once."""

    def submit(self, task: Task) -> bool:
        """Give a task to a free worker; False where that one could not take it after all."""

    def finished(self) -> list[Finished]:
        """What was done since the last call.

        Raises
        ------
        WorkerFailed
            No worker can begin.
        """

    def close(self) -> None:
        """Use the workers no more; tasks under way are not waited for."""
