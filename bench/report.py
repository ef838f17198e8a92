"""Figures: a table row for people, a JSON line for programs, and the raw runs in a file."""

import json
import statistics
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commit():
    """The commit that is measured; `+` if the tree has changes besides."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "crates", "Cargo.toml", "Cargo.lock")
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


class Report:
    """Collects and prints. `directory` takes `<date>-<commit>.jsonl`."""

    def __init__(self, directory):
        self.commit = commit()
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.file = directory / f"{time.strftime('%Y-%m-%d')}-{self.commit}.jsonl"
        self.figures = []

    def raw(self, bench, run):
        """Keeps one run as it was."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._keep({"raw": bench, "at": at, "commit": self.commit, **run})

    def figure(self, bench, metric, ours, peer, theirs, runs):
        """One figure: medians of the runs of either side. Prints its JSON line."""
        ours, theirs = (statistics.median(side) if side else None for side in (ours, theirs))
        line = {
            "bench": bench, "metric": metric, "ours": rounded(ours), "peer": peer, "theirs": rounded(theirs),
            "ratio": round(ours / theirs, 3) if ours is not None and theirs else None, "runs": runs,
            "commit": self.commit,
        }
        self.figures.append(line)
        self._keep(line)

    def _keep(self, line):
        with open(self.file, "a") as file:
            file.write(json.dumps(line) + "\n")

    def print(self):
        """The table, then the JSON lines, then where the raw runs are."""
        row = "{:<24} {:<32} {:>11} {:>11} {:>7} {:>5}"
        print("\n" + row.format("bench", "metric", "ours", "theirs", "ratio", "runs"))
        for line in self.figures:
            shown = ["-" if line[key] is None else line[key] for key in ("ours", "theirs", "ratio", "runs")]
            print(row.format(line["bench"], line["metric"], *map(str, shown)))
        print()
        for line in self.figures:
            print(json.dumps(line))
        print(f"\nraw runs: {self.file}")


def rounded(value):
    return None if value is None else round(value, 2)
