"""The HTTP client for an endpoint: proxies, certificates, variables meant for other programs."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from flames.errors import UsageError

if TYPE_CHECKING:
    from httpx2 import AsyncClient


def http_client(base_url: str, **options: Any) -> AsyncClient:
    """Returns a client for an endpoint that follows no redirects.

    The environment's proxies are used except for this machine, which none of them can reach; its
    certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`) count everywhere.
    """
    from httpx2 import create_ssl_context
    from openai import DefaultAsyncHttpxClient

    local = is_loopback(base_url)
    if local and urlsplit(base_url).scheme == "https":
        options["verify"] = create_ssl_context(trust_env=True)
    # A redirect must not carry the prompt or the headers to another host.
    try:
        return DefaultAsyncHttpxClient(trust_env=not local, follow_redirects=False, **options)
    except ImportError:
        raise UsageError(
            "the environment names a SOCKS proxy, which needs the package socksio: "
            "pip install socksio"
        ) from None


def own_headers(headers: Mapping[str, str], key: str) -> dict[str, Any]:
    """Returns headers completed so that nothing of `OPENAI_CUSTOM_HEADERS` is sent.

    The `openai` client adds those to every request, whoever it goes to.
    """
    from openai import Omit

    given = {name.casefold() for name in headers}
    kept: dict[str, Any] = dict(headers)
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n"):
        name = line.partition(":")[0].strip()
        if name and name.casefold() not in given:
            kept[name] = f"Bearer {key}" if name.casefold() == "authorization" else Omit()
    return kept


def is_loopback(url: str) -> bool:
    """Tells whether an address is on this machine; 0.0.0.0, which servers print, is."""
    host = (urlsplit(url).hostname or "").casefold().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def proxied(url: str) -> bool:
    """Tells whether connections to an address go through a proxy of the environment."""
    parts, proxies = urlsplit(url), getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not is_loopback(url) and not proxy_bypass(parts.hostname or "")
