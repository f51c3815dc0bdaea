"""Parameters that a model refuses: they are left out, or sent under the name that it asks for."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

LEFT_OUT = "left out"

# What may be left out without asking something else, and how messages call it.
_NAMES = {
    "temperature": r"temperature",
    "top_p": r"top[_ ]?p",
    "seed": r"seed",
    "stop": r"[`'\"\[(]stop[`'\"\])]|stop[_ ]?sequences?|(?:parameter|argument|model|key):? stop",
    "max_tokens": r"max[_ ]?tokens",
    "max_completion_tokens": r"max[_ ]?completion[_ ]?tokens",
    "response_format": r"response[_ ]?format",
    "tools": r"tools?\b|tool[_ ]choice|function[_ ]calling",
    "stream_options": r"stream[_ ]?options",
}
_NAMED = {
    name: re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE) for name, words in _NAMES.items()
}
_LENGTHS = ("max_tokens", "max_completion_tokens")
_OTHER_NAME = dict(zip(_LENGTHS, _LENGTHS[::-1], strict=True))
_REFUSED = re.compile(
    r"unsupported|not (?:be )?support|n['’]t support|unrecognized|unavailable|deprecated|remove"
    r"|(?:unknown|unexpected|extra|invalid) (?:\w+ )?(?:name|parameter|field|argument|input|key)"
    r"|not (?:permitted|allowed|available|accepted|recognized)|extra_forbidden|extraneous"
    r"|only .{0,30}(?:allowed|supported|default)|may only be|cannot both"
    r"|can(?:not|['’]t) be (?:used|set)"
    r"|不支持|不允许|仅支持",
    re.IGNORECASE,
)
_INSTEAD = re.compile(r"use [`'\"]?(\w+)[`'\"]?,? instead", re.IGNORECASE)
_STREAM_ONLY = re.compile(
    r"only supports? (?:the )?stream|(?:enable|set) .{0,20}\bstream\b|stream(?:ing)? is required"
    r"|requires? stream|stream must be|(?:仅|只)支持流式",
    re.IGNORECASE,
)


@dataclass
class Changes:
    """What an endpoint was found to refuse: parameter → its other name, or None.

    `stream` is the one that is switched on.
    """

    known: dict[str, str | None] = field(default_factory=dict)

    def told(self) -> dict[str, str]:
        """Returns the changes in words, for a manifest."""
        words = {name: other or LEFT_OUT for name, other in self.known.items()}
        return {**words, **({"stream": "on"} if "stream" in words else {})}

    def applied(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a request's body as the endpoint takes it."""
        changed = dict(body)
        for name, other in self.known.items():
            if name == "stream":
                changed["stream"] = True
            elif name in changed:
                value = changed.pop(name)
                if other is not None:
                    changed[other] = value
                if name == "tools":
                    changed.pop("tool_choice", None)
        return changed

    def sampled(self, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Returns sampling parameters, by the names that users give them, as they were sent."""
        kept = dict(sampling)
        for name, other in self.known.items():
            if other is None:
                kept.pop("max_tokens" if name in _LENGTHS else name, None)
        return kept

    def learn(self, said: str, sent: Mapping[str, Any], keep: Collection[str] = ()) -> bool:
        """Learns from a refusal's words about a body; False if they name nothing to change.

        `keep` are parameters that make the request what it is.
        """
        if not sent.get("stream") and "stream" not in self.known and _STREAM_ONLY.search(said):
            self.known["stream"] = None
            return True
        if not _REFUSED.search(said):
            return False
        named = (name for name in _NAMED if name in sent and _NAMED[name].search(said))
        name = next((name for name in named if name not in keep), None)
        if name is None:
            return False
        if name in self.known:  # another request learnt it while this one was under way
            return True
        wanted = _INSTEAD.search(said)
        other = wanted[1] if wanted and wanted[1] in _NAMED else _OTHER_NAME.get(name)
        origin = next((old for old, new in self.known.items() if new == name), None)
        if origin is not None:  # its other name is refused, too
            self.known[origin] = None
        else:
            self.known[name] = None if other is None or other in self.known else other
        return True


def changes_of(model: object) -> Changes:
    """Returns what a model's endpoint was found to refuse; nothing for a model without one."""
    changes = getattr(model, "changes", None)
    return changes if isinstance(changes, Changes) else Changes()
