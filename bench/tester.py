"""Measures `offhook load` beside SIPp: the same scenarios, each side pinned to a core of its own."""

import csv
import os
import resource
import tempfile
import time
from pathlib import Path

import load
import process
from report import ROOT

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
BINARY = ROOT / "target/release/offhook"
OURS, THEIRS = "offhook load", "sipp"


class Side:
    """One program with one scenario, on one core."""

    def __init__(self, name, scenario, cpu, directory, shim, arguments):
        self.name = name
        self.directory = Path(tempfile.mkdtemp(dir=directory))
        self.statistics = self.directory / "statistics.csv"
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        command = [os.environ.get("BENCH_OFFHOOK", BINARY), "load", "--workers", 1] if name == OURS else ["sipp"]
        command += [*scenario, "-i", "127.0.0.1", "-nostdin", "-buff_size", 4194304, "-timer_resol", 1]
        command += ["-cp", process.free_port(), "-trace_stat", "-fd", 1, "-stf", self.statistics, *arguments]
        env = {"LD_PRELOAD": str(shim)} if name == THEIRS else {}
        self.process = process.spawn(command, cpu, self.directory / "log", cwd=self.directory, env=env)

    def count(self, column):
        try:
            with open(self.statistics) as file:
                rows = list(csv.DictReader(file, delimiter=";"))
        except OSError:
            rows = []
        return int(rows[-1][column]) if rows else 0

    def wait(self, patience):
        """Waits for the end; seconds of CPU."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_utime + usage.ru_stime
            time.sleep(0.05)
        process.stop(self.process, patience_s=1)
        return None


def pair(caller, callee, rate, count, directory, shim, cpus):
    """One run: who calls, who answers, how fast."""
    port = process.free_port()
    answering = Side(callee, ["-sf", SCENARIOS / "answer.xml", "-p", port], cpus[1], directory, shim, [])
    listening = f":{port:04X} "
    process.wait_until(lambda: listening in process.read("/proc/net/udp"), 5, "the callee listens")
    before = process.cpu_ns(answering.process.pid)
    arguments = [f"127.0.0.1:{port}", "-p", process.free_port(), "-r", rate, "-m", count, "-l", 60_000]
    began = time.monotonic()
    calling = Side(caller, ["-sn", "uac"], cpus[0], directory, shim, arguments)
    cpu = calling.wait(3 * count / rate + 15)
    wall = time.monotonic() - began
    callee_cpu = (process.cpu_ns(answering.process.pid) - before) / 1e9
    process.stop(answering.process, patience_s=3)
    done, again = calling.count("SuccessfulCall(C)"), calling.count("Retransmissions(C)")
    good = cpu is not None and done == count and again <= 0.01 * count and wall < 1.1 * count / rate + 1
    return {
        "caller": caller, "callee": callee, "rate": rate, "asked": count, "done": done, "retransmissions": again,
        "seconds": round(wall, 2), "caller_us": round(1e6 * (cpu or 0) / max(done, 1), 2),
        "callee_us": round(1e6 * callee_cpu / max(done, 1), 2), "good": good, "steal_ms": process.steal_ms(),
    }


def cpu_per_call(report, bench, rate):
    """CPU of the caller against our callee, and of the callee under our caller."""
    results = {(role, name): [] for role in ("caller", "callee") for name in (OURS, THEIRS)}
    count = int(rate * bench.seconds)
    for _ in range(bench.pairs):
        for role, name in results:
            caller, callee = (name, OURS) if role == "caller" else (OURS, name)
            run = pair(caller, callee, rate, count, bench.directory, bench.shim, (bench.load_cpu, bench.server_cpu))
            report.raw("load", run)
            print(f"load@{rate} {role:<7} {name:<13} {run[role + '_us']:>7.1f} us  good {run['good']}", flush=True)
            if run["good"]:
                results[role, name].append(run[role + "_us"])
    for role, metric in (("caller", "cpu_us_per_call"), ("callee", "cpu_us_per_call_callee")):
        ours, theirs = results[role, OURS], results[role, THEIRS]
        report.figure(f"load@{rate}", f"load.{metric}", ours, THEIRS, theirs, min(len(ours), len(theirs)))


def highest_rate(report, bench):
    """The highest rate that all calls succeed at, the caller on one core, our callee on the other."""
    best = {}
    for name, rate in ((THEIRS, 4000), (OURS, 8000)):
        best[name], step = 0, 1.6
        while step > 1.05:
            tried = int(rate * step) if best[name] else rate
            cpus = (bench.load_cpu, bench.server_cpu)
            run = pair(name, OURS, tried, tried * 3, bench.directory, bench.shim, cpus)
            report.raw("load.rate", run)
            print(f"load rate {name:<13} {tried:>6}/s  good {run['good']}", flush=True)
            if run["good"]:
                best[name] = rate = tried
            elif best[name]:
                step = 1 + (step - 1) / 2
            else:
                rate = int(rate / 1.5)
                if rate < 500:
                    break
    report.figure("load", "load.calls_per_second_one_core", [best[OURS]], THEIRS, [best[THEIRS]], 1)


def memory(report, bench):
    """Bytes that a running call takes, after the INVITE was answered."""
    count, sizes = 20_000, {}
    for name in (OURS, THEIRS):
        port = process.free_port()
        cpus = (bench.load_cpu, bench.server_cpu)
        callee = Side(OURS, ["-sf", SCENARIOS / "answer.xml", "-p", port], cpus[1], bench.directory, bench.shim, [])
        listening = f":{port:04X} "
        process.wait_until(lambda: listening in process.read("/proc/net/udp"), 5, "the callee listens")
        arguments = [f"127.0.0.1:{port}", "-r", 2000, "-m", count, "-l", 60_000, "-d", 60_000]
        calling = Side(name, ["-sn", "uac"], cpus[0], bench.directory, bench.shim, arguments)
        time.sleep(0.5)
        first, begun = process.memory_bytes(calling.process.pid), calling.count("CurrentCall")
        time.sleep(count / 2000 + 2)
        grown = process.memory_bytes(calling.process.pid) - first
        sizes[name] = grown / max(count - max(begun, 1000), 1)
        process.stop(calling.process, patience_s=2)
        process.stop(callee.process, patience_s=2)
    report.figure("load", "load.bytes_per_running_call", [sizes[OURS]], THEIRS, [sizes[THEIRS]], 1)


def run(report, bench, rate):
    cpu_per_call(report, bench, rate)
    highest_rate(report, bench)
    memory(report, bench)
