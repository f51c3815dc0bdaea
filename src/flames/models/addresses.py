"""Addresses of endpoints: in a model's name, with a query, in Azure's form with a deployment."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

AZURE_VERSION = "2024-10-21"
"""The API version that Azure is asked by, unless another one is named."""

_VERSION = "api-version"
_AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_AT = re.compile(r"@(?=https?://)", re.I)
_ENDS = ("/chat/completions", "/completions")


def is_address(url: str) -> bool:
    """Returns whether a text is the address of an endpoint."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def split_address(spec: str) -> tuple[str, str | None]:
    """Splits `NAME@ADDRESS` into both; a name alone has no address."""
    name, *address = _AT.split(spec, maxsplit=1)
    return name.strip(), address[0] if address else None


def public_spec(spec: str) -> str:
    """Returns a model as it was named, with what its address may hold of keys left out."""
    name, address = split_address(spec)
    return spec if address is None else f"{name}@{public_url(address)}"


def split_query(url: str) -> tuple[str, dict[str, str]]:
    """Splits the query off an address, which belongs behind the path of each request.

    The path of a request at the address's end, which people copy along, is taken off as well.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    for end in _ENDS:
        path = path.removesuffix(end)
    bare = parts._replace(path=path, query="", fragment="").geturl()
    return bare, dict(parse_qsl(parts.query, keep_blank_values=True))


def public_url(url: str) -> str:
    """Returns an address without user, password, query and fragment, which may hold keys."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def hidden_values(url: str) -> list[str]:
    """Returns the password and the values of the query, which may be keys."""
    parts = urlsplit(url)
    hidden = [value for name, value in parse_qsl(parts.query) if name != _VERSION]
    return [*hidden, parts.password] if parts.password else hidden


def api_version(url: str) -> str | None:
    """Returns the API version that an address names."""
    return split_query(url)[1].get(_VERSION)


def is_azure(url: str) -> bool:
    """Tells whether an address is Azure's, which takes the key in a header `api-key`."""
    parts = urlsplit(url)
    return "/openai/deployments/" in parts.path or (parts.hostname or "").endswith(_AZURE_HOSTS)


def azure_url(endpoint: str, deployment: str, version: str) -> str:
    """Returns the address of a deployment; an endpoint that names one, or `/openai/v1`, stays."""
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/")
    if "/deployments/" in path or path.endswith("/openai/v1"):
        return endpoint
    path = f"{path.removesuffix('/openai')}/openai/deployments/{quote(deployment, safe='')}"
    query = dict(parse_qsl(parts.query))
    return parts._replace(path=path, query=urlencode({_VERSION: version} | query)).geturl()
