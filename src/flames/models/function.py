"""A Python function as a model."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flames.finish_reasons import status_of
from flames.models.base import Message, Reply, RequestError, RequestRejected, Sampling
from flames.text import split_reasoning


class CallableModel:
    """A Python callable that answers a prompt.

    Args:
        function: Takes the prompt's text, or the list of messages where `messages` is set, and
            returns the answer's text, a `Reply`, or an awaitable of either. Plain functions run
            in threads, at most `concurrency` at a time.
        name: The name that its responses are recorded under.
        messages: Hand over all messages instead of the last one's text.
        concurrency: Calls at once where nobody says a number.
        details: Anything that the manifest must know of it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        messages: bool = False,
        concurrency: int = 4,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))
        self.concurrency = concurrency
        self.defaults = Sampling()
        self._function = function
        self._messages = messages
        self._details = dict(details or {})

    def describe(self) -> dict[str, Any]:
        """That it is a function, and what was said of it."""
        return {"model": self.name, "provider": "python", **self._details}

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Calls the function.

        Raises:
            RequestError: As the function raised it; any other exception of its own becomes a
                `RequestRejected`.
        """
        argument = list(messages) if self._messages else messages[-1].content
        try:
            if inspect.iscoroutinefunction(self._function):
                answer = await self._function(argument)
            else:
                answer = await asyncio.to_thread(self._function, argument)
                if inspect.isawaitable(answer):
                    answer = await answer
        except RequestError:
            raise
        except Exception as error:
            raise RequestRejected(f"{type(error).__name__}: {error}") from error
        if isinstance(answer, Reply):
            return answer
        if not isinstance(answer, str):
            raise RequestRejected(f"{self.name} returned {type(answer).__name__}, not text")
        text, reasoning = split_reasoning(answer)
        return Reply(status_of(None, text), text=text, reasoning=reasoning or None)

    async def aclose(self) -> None:
        """Nothing to free."""
