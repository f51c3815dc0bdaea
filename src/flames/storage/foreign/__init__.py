"""Result files of other tools, read as responses or verdicts: one module a tool.

A file is recognised by its shape alone (`table.py`); each tool's module turns one of its rows into
rows with our field names.
"""
