"""Fetching the prompt sets that others publish."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from flames.errors import InputError, OutsideError, UsageError
from flames.prompts.sets import KNOWN_SETS, KnownSet
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.rows import open_binary

_TIMEOUT_S = 30
_LIMIT_BYTES = 64 * 2**20


def fetch_prompts(name: str, source: str | None = None) -> Path:
    """Fetches a known prompt set into the user's cache, checking its SHA-256.

    Args:
        name: One of `KNOWN_SETS`.
        source: A mirror's URL (http, https) or a local file; the publisher's URL unless given.

    Returns:
        Where it is kept (`FLAMES_HOME` moves the place).

    Raises:
        UsageError: There is no such set.
        InputError: The local file cannot be read or is another file.
        OutsideError: The address cannot be reached, or answers with something else.
    """
    known = KNOWN_SETS.get(name)
    if known is None:
        raise UsageError(f"no prompt set {name!r} to fetch; sets: {', '.join(KNOWN_SETS)}")
    if known.url is None or (source is None and _intact(known)):
        return known.path
    address = known.url if source is None else source
    is_url = address.startswith(("http://", "https://"))
    if is_url:
        data = _download(known, address)
    else:
        with open_binary(address) as file:
            data = file.read(_LIMIT_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if found != known.sha256:
        message = f"is not the published {name} file: SHA-256 {found}, expected {known.sha256}"
        if is_url:
            raise OutsideError(f"{address}: {message}{_by_hand(known)}")
        raise InputError(message, path=address)
    return write_atomic(known.path, data)


def _intact(known: KnownSet) -> bool:
    return known.present and file_sha256(known.path) == known.sha256


def _download(known: KnownSet, url: str) -> bytes:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "flames-bench"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            data: bytes = answer.read(_LIMIT_BYTES)
            return data
    except urllib.error.HTTPError as error:
        reason = f"answers HTTP {error.code}"
        error.close()
    except (urllib.error.URLError, OSError, HTTPException, ValueError) as error:
        reason = f"cannot be reached: {getattr(error, 'reason', None) or error}"
    raise OutsideError(f"{url} {reason}{_by_hand(known)}")


def _by_hand(known: KnownSet) -> str:
    return f"; download {known.url} by hand and run: flames prompts fetch {known.name} --from FILE"
