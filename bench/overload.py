"""A node that is held to a small part of a CPU, and a caller that does not care: how many calls come through."""

import csv
import os
import time
from pathlib import Path

import load
import process
from servers import CALLER

HOLD_MS = 1000
# The kernel hands out the share in so short portions that a wait for the next one is not felt as overload; none is shorter
# than a millisecond.
PORTION_US = 1000
PERIOD_US_MIN = 10_000
SETTLE_S = 5


class Cage:
    """A control group that gives a family of processes `share` of one CPU: cgroup v1 or v2, whichever can be written."""

    def __init__(self, pid, share):
        period = max(PERIOD_US_MIN, int(PORTION_US / share))
        quota = int(period * share)
        name = f"offhook-bench-{os.getpid()}"
        if Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists():
            self.kind, self.path = "cgroup v1", Path("/sys/fs/cgroup/cpu") / name
            self.path.mkdir()
            (self.path / "cpu.cfs_period_us").write_text(str(period))
            (self.path / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            self.kind, self.path = "cgroup v2", Path("/sys/fs/cgroup") / name
            self.path.mkdir()
            (self.path / "cpu.max").write_text(f"{quota} {period}")
        for member in process.family(pid):
            (self.path / "cgroup.procs").write_text(str(member))

    def stop(self):
        """Lets its members go, then ends it."""
        root = self.path.parent / "cgroup.procs"
        for pid in (self.path / "cgroup.procs").read_text().split():
            root.write_text(pid)
        self.path.rmdir()


class Rush:
    """SIPp at a rate that does not depend on what comes of it."""

    def __init__(self, bench, server, rate, seconds):
        self.server, self.rate, self.seconds = server, rate, seconds
        self.number = bench.number = bench.number + 1
        self.directory = bench.directory / f"rush-{self.number}"
        arguments = [
            *[server.address, "-r", rate, "-rp", 1000, "-m", int(rate * seconds), "-l", int(rate * 40)],
            *["-s", "5550123", "-d", HOLD_MS, "-trace_rtt", "-rtt_freq", "20", "-recv_timeout", 20_000],
        ]
        self.sipp = load.Sipp(
            "caller_refusable", CALLER, process.free_port(), self.directory, bench.shim, bench.load_cpu, arguments
        )

    def finish(self):
        """What came of it each second, when it had settled."""
        memory = []
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and self.sipp.process.poll() is None:
            memory.append(process.memory_bytes(self.server.process.pid))
            time.sleep(1)
        # Calls of the last second end; who still repeats itself after that has failed.
        try:
            self.sipp.process.wait(HOLD_MS / 1000 + 5)
        except Exception:
            process.stop(self.sipp.process, patience_s=1)
        with open(self.sipp.statistics) as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        first, last = self._row(rows, SETTLE_S), self._row(rows, self.seconds)

        def rate(column):
            took = seconds_of(last) - seconds_of(first)
            return round((int(last[column]) - int(first[column])) / took, 1)

        times = load.Load._response_times(self)
        return {
            "asked_per_sec": self.rate, "offered_per_sec": rate("TotalCallCreated"),
            "good_per_sec": rate("GenericCounter2(C)"), "refused_per_sec": rate("GenericCounter1(C)"),
            "failed": int(rows[-1]["FailedCall(C)"]), "retransmissions": int(rows[-1]["Retransmissions(C)"]),
            "response_ms_p50": load.percentile(times, 0.5), "response_ms_p99": load.percentile(times, 0.99),
            "memory_mb_first": round(memory[len(memory) // 3] / 1e6, 1), "memory_mb_last": round(memory[-1] / 1e6, 1),
        }

    @staticmethod
    def _row(rows, second):
        return min(rows, key=lambda row: abs(seconds_of(row) - second))


def seconds_of(row):
    """SIPp writes 00:00:12.345 or 00:00:12:345000."""
    hours, minutes, rest = row["ElapsedTime(C)"].split(":", 2)
    seconds = rest.replace(":", ".", 1)
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
