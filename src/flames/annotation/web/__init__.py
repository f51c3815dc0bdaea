"""The web application for annotators, adjudicators and leads. Rendered on the server."""

from flames.annotation.web.app import checked_url, create_app, is_local, serve

__all__ = ["checked_url", "create_app", "is_local", "serve"]
