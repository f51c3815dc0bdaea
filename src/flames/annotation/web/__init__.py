"""The web application for annotators, adjudicators and leads, rendered on the server."""

from flames.annotation.web.app import create_app, serve

__all__ = ["create_app", "serve"]
