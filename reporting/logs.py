"""Mean and spread over runs from their ``log.txt`` files, ours and those of the original repositories.

Accuracies are percentages.
"""

from __future__ import annotations

import re
import statistics
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TRAINING_ENDS = re.compile(r"finish(ed)? (the )?training", re.IGNORECASE)
RESULT_BEGINS = re.compile(r"=> result\s*$")


def natural_key(path: Path) -> list[str | int]:
    """Sorts ``seed2`` before ``seed10``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", str(path))]


def existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise FileNotFoundError(f"directory: {path} is not a folder; give the folder that holds the runs")
    return path


def visible_folders(directory: Path) -> list[Path]:
    """Subfolders in natural order, hidden ones left out."""
    folders = [path for path in existing_folder(directory).iterdir() if path.is_dir()]
    return sorted((path for path in folders if not path.name.startswith(".")), key=natural_key)


def parse_log(text: str, keyword: str = "accuracy", test_log: bool = False) -> float | None:
    """Value of ``* <keyword>: 81.04%`` in the last result block of a log, in percent; None without one.

    Only blocks behind the line that ends a training count, unless ``test_log``: tests have no such line.
    Prefixes of a line, such as a logger's time stamp, do not matter.
    """
    value = re.compile(rf"\* {re.escape(keyword)}: ([\d.eE+-]+|nan)%")
    found, trained, inside = None, test_log, False
    for line in text.splitlines():
        trained = trained or bool(TRAINING_ENDS.search(line))
        inside = inside or bool(RESULT_BEGINS.search(line))
        match = value.search(line)
        if match and trained and inside:
            with suppress(ValueError):  # such as "1-2": a damaged line, which is none
                found = float(match.group(1))
    return found


@dataclass
class Summary:
    """What the runs of one folder gave: percentages by log file, and the folders that gave nothing."""

    directory: Path
    values: dict[Path, float]
    without: list[Path]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    def spread(self, ci95: bool = False) -> float:
        """Upstream's spread: the standard deviation with n in the denominator, or 1.96 std / sqrt(n)."""
        std = statistics.pstdev(self.values.values())
        return 1.96 * std / len(self.values) ** 0.5 if ci95 else std


def summarise_logs(directory: Path, keyword: str = "accuracy", test_log: bool = False) -> Summary:
    """Reads ``<directory>/*/log.txt``; raises ValueError where none of them holds a result."""
    summary = Summary(directory, {}, [])
    for folder in visible_folders(directory):
        log = folder / "log.txt"
        text = log.read_text(errors="replace") if log.is_file() else ""
        value = parse_log(text, keyword, test_log)
        if value is None:
            summary.without.append(folder)
        else:
            summary.values[log] = value
    if not summary.values:
        what = "a result" if test_log else "a finished training (logs of tests want --test-log)"
        raise ValueError(f"directory: no {directory}/*/log.txt holds {what} with the keyword '{keyword}'")
    return summary


def summary_text(summary: Summary, keyword: str, ci95: bool) -> str:
    lines = [f"file: {log}. {keyword}: {value:.2f}%." for log, value in summary.values.items()]
    lines += [f"file: {path / 'log.txt'}. No result: missing or unfinished." for path in summary.without]
    kind = "population standard deviation"
    kind = f"95% interval, 1.96 {kind} / sqrt(n)" if ci95 else kind
    spread = f"{summary.spread(ci95):.2f}% ({kind}, n = {len(summary.values)})"
    lines += ["===", f"Summary of directory: {summary.directory}"]
    lines += [f"* {keyword}: {summary.mean:.2f}% +- {spread}", "==="]
    return "\n".join(lines)


def report_logs(directory: Path, keyword: str, test_log: bool, multi_exp: bool, ci95: bool) -> str:
    """The text for one folder of runs, or for each folder of runs in ``directory`` and their mean."""
    folders = visible_folders(directory) if multi_exp else [directory]
    if not folders:
        raise ValueError(f"directory: {directory} has no folders, and --multi-exp takes the mean over them")
    summaries = [summarise_logs(folder, keyword, test_log) for folder in folders]
    texts = [summary_text(summary, keyword, ci95) for summary in summaries]
    if multi_exp:
        mean = statistics.fmean(summary.mean for summary in summaries)
        texts.append(f"Average performance over {len(summaries)} folders\n* {keyword}: {mean:.2f}%")
    return "\n".join(texts)
