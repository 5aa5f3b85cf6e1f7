"""Many runs -> one summary.

Two ways in:

* ``python parse_test_res.py DIR [--test-log] [--multi-exp] [--ci95] [--keyword accuracy]`` reads the files
  ``DIR/*/log.txt``, ours and those of the original repositories: mean and spread over the runs.
* ``python parse_test_res.py DIR --base-new`` reads the ``results.jsonl`` files anywhere below DIR and prints
  Base, New and their harmonic mean H for each data set and method, as a table to paste into a paper.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reporting.base_new import averages, collect, make_table
from reporting.formats import FORMATS, plot
from reporting.logs import report_logs


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Mean and spread over runs; Base, New and H with --base-new."
    )
    parser.add_argument(
        "directory", type=Path, help="folder whose subfolders are runs (--base-new: any depth)"
    )
    parser.add_argument("--ci95", action="store_true", help="95%% interval instead of the standard deviation")
    parser.add_argument(
        "--test-log", action="store_true", help="the logs are those of tests, not of trainings"
    )
    parser.add_argument("--multi-exp", action="store_true", help="directory holds several folders of runs")
    parser.add_argument("--keyword", default="accuracy", help="which line of the result block to read")
    parser.add_argument(
        "--base-new", action="store_true", help="table Base / New / H from results.jsonl files"
    )
    parser.add_argument(
        "--average", action="store_true", help="add the mean over data sets to the --base-new table"
    )
    parser.add_argument("--format", choices=FORMATS, help="of the --base-new table (default: markdown)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the --base-new table too (.png, .pdf, .svg)"
    )
    args = parser.parse_args(argv)
    if not args.base_new and (args.plot or args.format or args.average):
        parser.error("--plot, --format and --average go with --base-new")
    if args.base_new and (args.ci95 or args.test_log or args.multi_exp or args.keyword != "accuracy"):
        parser.error(
            "--ci95, --test-log, --multi-exp and --keyword read logs; --base-new reads results.jsonl"
        )
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        if args.base_new:
            rows = collect(args.directory)
            table = make_table(rows)
            average = make_table(averages(rows)) if args.average else []
            print(FORMATS[args.format or "markdown"](table + average))
            if args.plot:
                plot(table, args.plot)
                print(f"plot: {args.plot}", file=sys.stderr)
        else:
            print(report_logs(args.directory, args.keyword, args.test_log, args.multi_exp, args.ci95))
    except (OSError, ValueError) as error:
        print(f"parse_test_res.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
