"""`flames annotate serve`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from flames.cli.annotate._shared import ProjectArgument


def serve(
    project: ProjectArgument,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 8400,
    url: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--url",
            metavar="URL",
            help="How people reach the server, where that differs (behind a proxy, say).",
        ),
    ] = None,
    proxies: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--proxies", metavar="ADDRESS,…", help="Proxies whose X-Forwarded headers are believed."
        ),
    ] = None,
    certificate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--certificate", metavar="FILE", help="TLS certificate (PEM), for HTTPS."),
    ] = None,
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--key", metavar="FILE", help="The certificate's key."),
    ] = None,
) -> None:
    """Serve the labelling pages until interrupted."""
    from flames.annotation import web
    from flames.cli.annotate._shared import opened, say

    with opened(project) as found:
        secure = certificate is not None or (url or "").startswith("https://")
        if not secure and not web.is_local(host):
            say(
                "Warning: others reach this address without encryption; use --certificate, "
                "or a proxy with HTTPS and --url."
            )
        web.serve(
            found,
            host=host,
            port=port,
            public_url=url,
            proxies=proxies,
            certificate=certificate,
            key=key,
            ready=lambda address: say(f"Serving {found.settings.name} on {address}"),
        )
