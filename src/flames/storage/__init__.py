"""Files on disk: rows, records, atomic writes, locks, journals and run directories."""
