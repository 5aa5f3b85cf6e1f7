"""Many runs -> one summary.

Two ways in:

* ``python parse_test_res.py DIR [--test-log] [--multi-exp] [--ci95] [--keyword accuracy]`` reads the files
  ``DIR/*/log.txt``, ours and those of the original repositories: mean and spread over the runs.
* ``python parse_test_res.py DIR --base-new`` (or ``--xd``, ``--few-shot``, ``--upgrade``) reads the
  ``results.jsonl`` files anywhere below DIR and prints the table of that protocol, to paste into a paper;
  ``--paper`` adds the figures of the DPC paper, ``--difference`` what a plug-in adds to its learner. What is
  missing or unfinished is said below the table. ``--html FILE`` writes one page of all protocols, plots,
  curves and settings. See docs/protocols.md.

Each says which spread it prints: logs give the population standard deviation, as the original repositories
do, tables the sample one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reporting.ablations import NUMBERS, ablation_table
from reporting.base_new import base_new_table, summarise_tree
from reporting.calibration import calibration_table, reliability_figure
from reporting.few_shot import collect_curves, few_shot_table
from reporting.formats import FORMATS
from reporting.html import write_report
from reporting.logs import report_logs
from reporting.plots import base_new_figure, few_shot_figure, plugin_figure, save
from reporting.significance import significance_table
from reporting.tables import Table
from reporting.upgrade import collect_upgrades, upgrade_table
from reporting.xd import collect_xd, xd_table

# options and the tables that they go with
TABLE_OPTIONS = {
    "format": ("base_new", "xd", "few_shot", "upgrade", "ablation", "significance", "calibration"),
    "mark": ("base_new", "xd", "few_shot", "upgrade", "ablation"),
    "difference": ("base_new", "xd", "few_shot"),
    "average": ("base_new", "few_shot"),
    "plot": ("base_new", "few_shot", "calibration"),
    "measure": ("base_new",),
    "plot_h": ("base_new",),
    "plot_base": ("base_new",),
    "paper": ("base_new", "xd", "html"),
}
TABLES = ("base_new", "xd", "few_shot", "upgrade", "ablation", "significance", "calibration", "html")
MEASURES = ("accuracy", "macro_accuracy", "macro_f1")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mean and spread over runs, or the table of a protocol.")
    parser.add_argument("directory", type=Path, help="folder whose subfolders are runs (tables: any depth)")
    logs = parser.add_argument_group("from log.txt")
    logs.add_argument("--ci95", action="store_true", help="95%% interval instead of the standard deviation")
    logs.add_argument("--test-log", action="store_true", help="the logs are those of tests, not of trainings")
    logs.add_argument("--multi-exp", action="store_true", help="directory holds several folders of runs")
    logs.add_argument("--keyword", default="accuracy", help="which line of the result block to read")
    tables = parser.add_argument_group("from results.jsonl")
    which = tables.add_mutually_exclusive_group()
    which.add_argument("--base-new", action="store_true", help="base-to-new: Base, New and H")
    which.add_argument("--xd", action="store_true", help="cross-dataset and cross-domain: source and targets")
    which.add_argument("--few-shot", action="store_true", help="accuracy over training images per class")
    which.add_argument("--upgrade", action="store_true", help="tuned on one CLIP, tested on its successor")
    which.add_argument(
        "--ablation", type=int, choices=NUMBERS, help="the runs of the DPC paper's Table 3, 4 or 5"
    )
    which.add_argument(
        "--significance", action="store_true", help="whether plug-ins' gains hold over data sets and seeds"
    )
    which.add_argument("--calibration", action="store_true", help="expected calibration error")
    which.add_argument("--html", type=Path, metavar="FILE", help="all protocols, plots and runs as one page")
    tables.add_argument("--average", action="store_true", help="add the mean over several data sets")
    tables.add_argument("--paper", action="store_true", help="add the DPC paper's figures and the difference")
    tables.add_argument("--difference", action="store_true", help="add what a plug-in adds to its learner")
    tables.add_argument("--measure", choices=MEASURES, help="of base-to-new results (default: accuracy)")
    tables.add_argument("--format", choices=FORMATS, help="of the table (default: markdown)")
    tables.add_argument(
        "--mark",
        action=argparse.BooleanOptionalAction,
        help="mark the best mean of each data set and column (default: in LaTeX alone)",
    )
    tables.add_argument("--plot", type=Path, metavar="FILE", help="draw it too (.png, .pdf, .svg)")
    tables.add_argument(
        "--plot-h", type=Path, metavar="FILE", help="draw H alone, plug-ins beside their prompt learner"
    )
    tables.add_argument("--plot-base", type=Path, metavar="FILE", help="the same for base classes' accuracy")
    args = parser.parse_args(argv)
    table = next((name for name in TABLES if getattr(args, name)), None)
    for option, goes_with in TABLE_OPTIONS.items():
        if getattr(args, option) not in (None, False) and table not in goes_with:
            names = " or ".join(f"--{name.replace('_', '-')}" for name in goes_with)
            parser.error(f"--{option.replace('_', '-')} goes with {names}")
    if args.paper and args.measure not in (None, "accuracy"):
        parser.error("--paper goes with accuracy: the paper prints no other measure")
    if args.mark and args.format == "csv":
        parser.error("--mark goes with the formats that are read: CSV has the bare numbers")
    if table and (args.ci95 or args.test_log or args.multi_exp or args.keyword != "accuracy"):
        parser.error("--ci95, --test-log, --multi-exp and --keyword read logs; tables are from results.jsonl")
    return args


def tables_of(args: argparse.Namespace) -> list[Table]:
    """The tables that the arguments ask for; draws the plot, too."""
    if args.xd:
        by_source = collect_xd(args.directory)
        return [xd_table(source, rows, args.paper, args.difference) for source, rows in by_source.items()]
    if args.few_shot:
        curves = collect_curves(args.directory, args.average)
        if args.plot:
            save(few_shot_figure(curves), args.plot)
        return [few_shot_table(curves, args.difference)]
    if args.upgrade:
        return [upgrade_table(pair, rows) for pair, rows in collect_upgrades(args.directory).items()]
    if args.ablation:
        return [ablation_table(args.directory, args.ablation)]
    if args.significance:
        return [significance_table(args.directory)]
    if args.calibration:
        if args.plot:
            save(reliability_figure(args.directory), args.plot)
        return [calibration_table(args.directory)]
    return base_new_tables(args)


def base_new_tables(args: argparse.Namespace) -> list[Table]:
    measure = args.measure or "accuracy"
    summaries = summarise_tree(args.directory, args.average, measure)
    if args.plot:
        drawn = [summary for summary in summaries if not summary.row.is_average]
        save(base_new_figure(drawn), args.plot)
    if args.plot_h:
        save(plugin_figure(summaries, "h"), args.plot_h)
    if args.plot_base:
        save(plugin_figure(summaries, "base"), args.plot_base)
    table = base_new_table(summaries, args.paper, args.difference)
    named = [note.replace("Accuracy in %", f"{measure} in %") for note in table.notes]
    return [table if measure == "accuracy" else table._replace(notes=named)]


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        if args.html:
            write_report(args.directory, args.html, args.paper)
            print(f"report: {args.html}")
        elif any(getattr(args, name) for name in TABLES):
            write, mark = FORMATS[args.format or "markdown"], args.mark
            mark = args.format == "latex" if mark is None else mark
            print("\n\n".join(write(table, mark) for table in tables_of(args)))
            for path in filter(None, (args.plot, args.plot_h, args.plot_base)):
                print(f"plot: {path}", file=sys.stderr)
        else:
            print(report_logs(args.directory, args.keyword, args.test_log, args.multi_exp, args.ci95))
    except (OSError, ValueError) as error:
        print(f"parse_test_res.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
