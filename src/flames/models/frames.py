"""How a base model, which only continues texts, is asked a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flames.errors import UsageError
from flames.models.base import Message


@dataclass(frozen=True)
class Frame:
    """A text around the question, and the strings that end the answer."""

    name: str
    before: str
    question: str
    answer: str
    stop: tuple[str, ...]

    def text(self, messages: Sequence[Message]) -> str:
        """The text to continue."""
        parts = [self.before]
        for message in messages:
            if message.role == "system":
                parts.append(message.content.strip() + "\n\n")
            elif message.role == "user":
                parts.append(self.question.format(message.content.strip()))
            else:
                parts.append(self.answer + message.content.strip() + "\n\n")
        return "".join(parts) + self.answer


QA = Frame(
    name="qa",
    before=(
        "问：天空为什么是蓝色的？\n"
        "答：因为大气会散射阳光，蓝光散射得最多，所以天空看上去是蓝色的。\n\n"
        "问：怎样煮出好吃的米饭？\n"
        "答：先把米淘洗干净，加水浸泡半小时，水没过米面一指节，煮好后再焖十分钟。\n\n"
    ),
    question="问：{}\n",
    answer="答：",
    stop=("\n", "问："),
)
FRAMES = {"qa": QA}


def load_frame(name: str | None) -> Frame | None:
    """The frame of that name; `chat` or nothing is the model's own chat template.

    Raises:
        UsageError: There is no such frame.
    """
    if name is None or name == "chat":
        return None
    if name not in FRAMES:
        raise UsageError(f"unknown frame {name!r}; one of: chat, {', '.join(FRAMES)}")
    return FRAMES[name]
