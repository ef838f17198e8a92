"""SIPp at a fixed rate against a server: one run gives one dictionary of what came of it."""

import csv
import math
import os
import resource
import subprocess
import time
from pathlib import Path

import process
from servers import CALLER, DOMAIN

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
# A run counts only if nearly every message made it at the first try, at the rate that was asked for.
RETRANSMISSIONS_MAX = 0.01
RATE_MIN = 0.95


def build_clock(directory):
    """The shim that gives SIPp a clock finer than 4 ms."""
    shim = Path(directory) / "fine_clock.so"
    source = SCENARIOS.parent / "fine_clock.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, source], check=True)
    return shim


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values), math.ceil(share * len(values))) - 1] if values else None


class Sipp:
    """One SIPp process with its statistics file."""

    def __init__(self, scenario, ip, port, directory, shim, cpu, arguments):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.statistics = self.directory / f"{scenario}.csv"
        self.log = self.directory / f"{scenario}.log"
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        command = [
            *["sipp", *arguments, "-sf", SCENARIOS / f"{scenario}.xml", "-i", ip, "-p", port],
            *["-bind_local", "-nostdin", "-buff_size", "4194304", "-timer_resol", "1"],
            *["-cp", process.free_port(), "-default_behaviors", "all,-abortunexp"],
            *["-trace_stat", "-fd", "1", "-stf", self.statistics],
        ]
        self.process = process.spawn(
            command, cpu, self.log, cwd=self.directory, env={"LD_PRELOAD": str(shim)}
        )

    def last(self, column):
        """The cumulative value of a column at the end."""
        try:
            with open(self.statistics) as file:
                rows = list(csv.DictReader(file, delimiter=";"))
        except OSError:
            rows = []
        return int(rows[-1][column]) if rows else 0


class Callee:
    """The SIPp that answers all calls, of every server."""

    def __init__(self, port, directory, shim, cpu):
        self.sipp = Sipp("callee", "127.0.0.1", port, Path(directory) / "callee", shim, cpu, [])
        listening = f":{port:04X} "
        process.wait_until(lambda: listening in process.read("/proc/net/udp"), 5, "the callee listens")

    def stop(self):
        process.stop(self.sipp.process, patience_s=1)


class Load:
    """A caller or registering SIPp on its way."""

    def __init__(self, kind, server, rate, count, directory, shim, cpu, *, hold_ms=0, users=None):
        self.server, self.rate, self.count, self.hold_s = server, rate, count, hold_ms / 1000
        at_once = max(10_000, int(2 * rate * (self.hold_s + 4)))
        arguments = [server.address, "-r", rate, "-m", count, "-l", at_once, "-trace_rtt", "-rtt_freq", "100"]
        if kind == "calls":
            scenario, arguments = "caller", [*arguments, "-s", "5550123", "-d", hold_ms]
        else:
            keys = ["-key", "domain", DOMAIN, "-auth_uri", DOMAIN]
            scenario, arguments = "register", [*arguments, "-inf", users, *keys]
        self.steal_before, self.cpu_before = process.steal_ms(), process.cpu_ns(server.process.pid)
        self.began = time.monotonic()
        self.sipp = Sipp(scenario, CALLER, process.free_port(), directory, shim, cpu, arguments)

    def finish(self):
        """Waits for the end and says what came of it. `good` is false if the run does not count, `limit` why not."""
        patience = 2 * self.count / self.rate + self.hold_s + 15
        _, status, usage = self._wait(patience)
        wall = time.monotonic() - self.began
        cpu = process.cpu_ns(self.server.process.pid) - self.cpu_before
        done = self.sipp.last("SuccessfulCall(C)")
        again = self.sipp.last("Retransmissions(C)")
        times = self._response_times()
        achieved = self.sipp.last("TotalCallCreated") / max(wall - self.hold_s, 0.001)
        generator_us = (usage.ru_utime + usage.ru_stime) * 1e6
        result = {
            "server": self.server.name, "rate": self.rate, "asked": self.count, "done": done,
            "retransmissions": again, "achieved_per_sec": round(achieved, 1),
            "cpu_us": round(cpu / 1000 / max(done, 1), 2), "cpu_percent": round(cpu / 1e7 / wall, 1),
            "response_ms_p50": percentile(times, 0.5), "response_ms_p99": percentile(times, 0.99),
            "generator_cpu_percent": round(generator_us / 1e4 / wall, 1), "steal_ms": process.steal_ms() - self.steal_before,
            "load_average": os.getloadavg()[0],
        }
        result["limit"] = self._limit(result, status)
        result["good"] = result["limit"] is None
        return result

    def _wait(self, patience):
        end = time.monotonic() + patience
        while True:
            pid, status, usage = os.wait4(self.sipp.process.pid, os.WNOHANG)
            if pid:
                self.sipp.process.returncode = os.waitstatus_to_exitcode(status)
                return pid, status, usage
            if time.monotonic() > end:
                self.sipp.process.kill()
                end = math.inf
            time.sleep(0.005)

    def _response_times(self):
        times = []
        for path in self.sipp.directory.glob("*_rtt.csv"):
            with open(path) as file:
                for row in csv.reader(file, delimiter=";"):
                    if row and row[0][:1].isdigit():
                        times.append(float(row[1]))
        return times

    @staticmethod
    def _limit(result, status):
        if result["done"] < result["asked"]:
            return f"{result['asked'] - result['done']} failed (SIPp ended with {os.waitstatus_to_exitcode(status)})"
        if result["retransmissions"] > RETRANSMISSIONS_MAX * result["asked"]:
            return f"{result['retransmissions']} retransmissions"
        if result["achieved_per_sec"] < RATE_MIN * result["rate"]:
            return f"only {result['achieved_per_sec']} of {result['rate']} a second were offered"
        return None
