"""How well answers do: one table of answers, and the scores, intervals and comparisons that are computed from it.

Nothing here knows a meta-classifier. The unit is the run: snapshots and slices of one run say nearly the same thing,
so that every interval is over runs; and a run that several splits test counts once.
"""
