"""Many runs -> summaries: ``logs`` reads log.txt, ``base_new`` results.jsonl, ``formats`` writes tables."""
