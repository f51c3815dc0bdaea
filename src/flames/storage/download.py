"""Files that others publish: from their address, a mirror, or a local copy."""

from __future__ import annotations

from flames.errors import InputError, OutsideError
from flames.storage.text_files import open_binary

_TIMEOUT_S = 30
_LIMIT_BYTES = 64 * 2**20


def is_address(text: str) -> bool:
    """Tells whether a text is an http or https address, not a path."""
    return text.startswith(("http://", "https://"))


def read_published(address: str, by_hand: str) -> bytes:
    """Returns the content of an address or of a local file.

    `by_hand` is what to do where the address cannot be reached; it ends the message of the
    OutsideError.
    """
    if not is_address(address):
        with open_binary(address) as file:
            data = file.read(_LIMIT_BYTES + 1)
        if len(data) > _LIMIT_BYTES:
            raise InputError(f"is larger than {_LIMIT_BYTES >> 20} MiB", path=address)
        return data
    import urllib.error  # all of HTTP, which reading prompts does not need
    import urllib.request
    from http.client import HTTPException

    try:
        request = urllib.request.Request(address, headers={"User-Agent": "flames-bench"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            found: bytes = answer.read(_LIMIT_BYTES + 1)
        if len(found) > _LIMIT_BYTES:
            raise OutsideError(f"{address} has more than {_LIMIT_BYTES >> 20} MiB{by_hand}")
        return found
    except urllib.error.HTTPError as error:
        reason = f"answers HTTP {error.code}"
        error.close()
    except (urllib.error.URLError, OSError, HTTPException, ValueError) as error:
        reason = f"cannot be reached: {getattr(error, 'reason', None) or error}"
    raise OutsideError(f"{address} {reason}{by_hand}")
