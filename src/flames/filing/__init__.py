"""What a filing (备案) of a generative service counts: banks, draws, pass and refusal rates.

The figures that are asked for stand in a data file (`data/filing/gbt45654.json`) that a user can
replace. Nothing here says that a service is compliant: it says what was counted, what was asked
for, and what is missing.
"""
