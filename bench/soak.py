"""A steady load for long: registrations that come anew, calls that come and go. See README.md; `soak.py [MINUTES]`."""

import csv
import json
import os
import sys
import time
import urllib.request
from pathlib import Path

import load
import process
from bench import Bench, setting, user_names
from report import ROOT, Report
from servers import DOMAIN, Node

SAMPLE_S = 2
# Until every table has had its size, and transactions (32 s) and ports (5 s of rest) go round.
WARM_UP_S = 90
HOLD_MS = 5000
# What a level may grow by in an hour and still be flat: the noise of a short run, and less than a leak of one in a thousand.
FLAT_SHARE_PER_HOUR = 0.05
ASKED_FOR = ("calls", "bindings")
COLUMNS = ["seconds", "memory_bytes", "descriptors", "media_ports", "calls", "bindings", "transactions"]


def sample(node, began):
    metrics = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http}/metrics", timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            name, _, value = line.rpartition(" ")
            metrics[name] = value
    pid = node.process.pid
    return [
        round(time.monotonic() - began, 1), process.memory_bytes(pid), len(os.listdir(f"/proc/{pid}/fd")),
        *(float(metrics[f"offhook_{name}"]) for name in ("media_ports", "calls", "bindings", "transactions")),
    ]


def slope(samples, column):
    """Growth per second, by least squares."""
    points = [(row[0], row[column]) for row in samples]
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def verdict(samples, seconds):
    """For each level: its mean, what it grows by in an hour, and whether that is flat. Over less than an hour the growth seen
    is taken as it is: a short run cannot tell a slow leak from noise."""
    steady = [row for row in samples if row[0] > WARM_UP_S] or samples
    found = {}
    for column, name in list(enumerate(COLUMNS))[1:]:
        mean = sum(row[column] for row in steady) / len(steady)
        growth = slope(steady, column) * min(3600, seconds)
        # What the node takes may shrink: an allocator gives back what the beginning needed. What it is asked for may not.
        drift = abs(growth) if name in ASKED_FOR else growth
        flat = drift <= max(FLAT_SHARE_PER_HOUR * mean, 2)
        found[name] = {"mean": round(mean, 1), "growth": round(growth, 1), "flat": flat}
    return found


def plot(samples, path, title):
    """One panel for each level, as SVG."""
    width, height, left = 900, 110, 110
    panels = []
    for column, name in list(enumerate(COLUMNS))[1:]:
        values = [row[column] for row in samples]
        top, end = max(max(values), 1), samples[-1][0]
        points = " ".join(
            f"{left + row[0] / end * (width - left - 10):.1f},{height - 20 - row[column] / top * (height - 40):.1f}"
            for row in samples
        )
        y = 30 + (column - 1) * height
        shown = f"{top / 1e6:.1f} MB" if name == "memory_bytes" else f"{top:.0f}"
        panels.append(
            f'<g transform="translate(0,{y})"><text x="5" y="35">{name}</text><text x="5" y="52">max {shown}</text>'
            f'<line x1="{left}" y1="{height - 20}" x2="{width - 10}" y2="{height - 20}" stroke="#999"/>'
            f'<polyline fill="none" stroke="#06c" points="{points}"/></g>'
        )
    total = 30 + (len(COLUMNS) - 1) * height
    Path(path).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{total}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/><text x="5" y="18">{title}</text>{"".join(panels)}</svg>\n'
    )


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    calls, registers = (int(setting(name, "20")) for name in ("SOAK_CALLS", "SOAK_REGISTERS"))
    seconds = minutes * 60
    results = Path(setting("RESULTS", ROOT / "target/bench"))
    report = Report(results)
    users = user_names(int(setting("SOAK_LINES", "1000")))
    samples = []
    with Bench(report) as bench:
        bench.own(load.Callee(bench.callee_port, bench.directory, bench.shim, bench.load_cpu))
        node = bench.own(Node(bench.directory, bench.server_cpu, bench.callee_port, users, anchor=True))
        began = time.monotonic()
        loads = [
            bench.load("registrations", node, registers, int(registers * seconds), users=bench.users_file(users)),
            bench.load("calls", node, calls, int(calls * seconds), hold_ms=HOLD_MS),
        ]
        while time.monotonic() < began + seconds:
            samples.append(sample(node, began))
            time.sleep(SAMPLE_S)
        runs = [running.finish() for running in loads]
    stem = results / f"soak-{time.strftime('%Y-%m-%d')}-{report.commit}"
    with open(f"{stem}.csv", "w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *samples])
    title = f"{minutes:g} minutes, {calls} calls/s of {HOLD_MS / 1000:g} s, {registers} registrations/s of {DOMAIN}, {report.commit}"
    plot(samples, f"{stem}.svg", title)
    found = verdict(samples, seconds)
    failed = sum(run["asked"] - run["done"] for run in runs)
    flat = all(level["flat"] for level in found.values()) and failed == 0
    line = {"bench": "soak", "minutes": minutes, "flat": flat, "failed": failed, "levels": found, "commit": report.commit}
    print(json.dumps(line))
    report.raw("soak", line)
    print(f"{'flat' if flat else 'NOT FLAT'}: {stem}.csv, {stem}.svg")
    sys.exit(0 if flat else 1)


if __name__ == "__main__":
    main()
