"""Features of a frozen language model, and scorers on top of them."""

WEIGHTS = "heads.safetensors"
"""The file by which the folder of such a scorer is known."""
