"""The commands as functions: run, study, score, measure, report, compare, trend, certify, gate.

`import flames` has them all; nothing is imported here, since who only reads verdicts needs none of
what asks a model.
"""
