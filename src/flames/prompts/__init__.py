"""Prompt sets: the bundled ones, fetched ones and files, each with its checksum."""
