"""Files on disk: rows, records, atomic writes, locks, journals, checksums, run directories."""
