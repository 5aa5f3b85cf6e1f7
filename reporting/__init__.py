"""Many runs -> summaries.

``logs`` reads log.txt. ``runs`` reads results.jsonl, of which ``base_new``, ``xd`` and ``few_shot`` make one
table each, with ``paper``'s figures beside it; ``formats`` writes tables and ``plots`` draws them.
"""
