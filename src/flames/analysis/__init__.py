"""Everything that is computed from verdicts: comparisons, evaluations, gates, probes, costs."""
