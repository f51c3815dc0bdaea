"""Published and measured results: ranks with uncertainty, audits of tables, entries."""
