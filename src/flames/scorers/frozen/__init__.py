"""Features of a frozen language model, without torch."""
