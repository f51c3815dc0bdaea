"""Models that can be asked: protocol, OpenAI-compatible client, providers, local models."""
