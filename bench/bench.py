"""Measures the node beside Kamailio and rtpengine. See README.md; `bench.py` with the names in BENCHES, or all."""

import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import load
import process
import relay as relays
import relay_kernel as kernel
import streams
import tester
import transcode as transcoding
from overload import Cage, Rush
from report import ROOT, Report
from servers import PASSWORD, Kamailio, Node
from start import Phone, bind_all, measure

# Transactions stay for 32 s (64*T1, RFC 3261 §17) after their last response; memory is read after that.
SETTLE_S = 35
WARM_UP_S = 2


def setting(name, default):
    return os.environ.get(f"BENCH_{name}", default)


def rates(name, default):
    return [int(rate) for rate in setting(name, default).replace(",", " ").split()]


class Bench:
    """A directory, a clock for SIPp, the CPUs, and what has been started."""

    def __init__(self, report):
        self.report, self.stack = report, ExitStack()
        base = ROOT / "target/bench"
        base.mkdir(parents=True, exist_ok=True)
        self.directory = Path(tempfile.mkdtemp(prefix="run-", dir=base))
        self.shim = load.build_clock(self.directory)
        # One CPU for the server, another for the load; unpinned on a machine with one.
        self.server_cpu, self.load_cpu = (1, 0) if (os.cpu_count() or 1) > 1 else (None, None)
        self.callee_port = process.free_port()
        self.pairs = int(setting("PAIRS", "3"))
        self.seconds = float(setting("SECONDS", "8"))
        self.number = 0

    def __enter__(self):
        return self

    def __exit__(self, failed, *_):
        self.stack.close()
        if not failed:
            shutil.rmtree(self.directory, ignore_errors=True)

    def own(self, started):
        """Sees that it ends with the benchmark."""
        self.stack.callback(started.stop)
        return started

    def start(self, kind, users=()):
        """Our node and the Kamailio it is measured beside; for calls also who answers them."""
        role = "proxy" if kind == "calls" else "registrar"
        ours = self.own(Node(self.directory, self.server_cpu, self.callee_port, users))
        theirs = self.own(Kamailio(role, self.directory, self.server_cpu, self.callee_port))
        if kind == "calls":
            self.own(load.Callee(self.callee_port, self.directory, self.shim, self.load_cpu))
        return ours, theirs

    def load(self, kind, server, rate, count, **options):
        self.number += 1
        directory = self.directory / f"load-{self.number}"
        return load.Load(kind, server, rate, count, directory, self.shim, self.load_cpu, **options)

    def users_file(self, users, first=0, last=None):
        """What SIPp injects: users one after another, from the beginning again at the end."""
        path = self.directory / f"users-{first}.csv"
        credentials = "".join(
            f"{user};[authentication username={user} password={PASSWORD}]\n" for user in users[first:last]
        )
        path.write_text("SEQUENTIAL\n" + credentials)
        return path

    def fixed_rates(self, bench, kind, metric, wanted_rates, servers, **options):
        """Pairs of runs, ours and theirs in turn, at each rate; their medians become figures."""
        for server in servers:
            self.load(kind, server, min(wanted_rates), int(min(wanted_rates) * WARM_UP_S), **options).finish()
        for rate in wanted_rates:
            good = {server.name: [] for server in servers}
            for pair in range(self.pairs):
                # Who goes first changes, so that a load that rises or falls meanwhile favours nobody.
                for server in servers if pair % 2 == 0 else reversed(servers):
                    run = self.load(kind, server, rate, int(rate * self.seconds), **options).finish()
                    self.report.raw(bench, run)
                    print(describe(bench, run), flush=True)
                    if run["good"]:
                        good[server.name].append(run)
            self.figures(f"{bench}@{rate}", metric, good, servers)

    def figures(self, bench, metric, good, servers):
        ours, theirs = (good[server.name] for server in servers)
        runs = min(len(ours), len(theirs))
        named = {metric: "cpu_us", "response_ms_p50": "response_ms_p50", "response_ms_p99": "response_ms_p99"}
        for name, key in named.items():
            values = [[run[key] for run in side] for side in (ours, theirs)]
            self.report.figure(bench, name, values[0], servers[1].name, values[1], runs)


def describe(bench, run):
    told = (
        f"{bench:<14} {run['server']:<19} {run['rate']:>5}/s  cpu {run['cpu_us']:>7.1f} us ({run['cpu_percent']:>4.1f} %)  "
        f"p50 {run['response_ms_p50']} ms  p99 {run['response_ms_p99']} ms  SIPp {run['generator_cpu_percent']} %  "
        f"steal {run['steal_ms']} ms"
    )
    return told if run["good"] else f"{told}  NOT COUNTED: {run['limit']}"


def calls(report):
    """CPU per call and INVITE to 200, calls without a pause between ACK and BYE."""
    with Bench(report) as bench:
        servers = bench.start("calls")
        bench.fixed_rates("calls", "calls", "cpu_us_per_call", rates("CALL_RATES", "500 1000"), servers)


def user_names(count):
    return [f"{1_000_000 + number}" for number in range(count)]


def registrations(report):
    """CPU per registration (both REGISTERs) and first REGISTER to 200; bindings are refreshed once all are made."""
    users = user_names(int(setting("LINES", "10000")))
    with Bench(report) as bench:
        servers = bench.start("registrations", users)
        options = {"users": bench.users_file(users)}
        wanted = rates("REGISTER_RATES", "500 1000")
        bench.fixed_rates("registrations", "registrations", "cpu_us_per_registration", wanted, servers, **options)


def memory(report):
    """Bytes per binding and per established call: what the second of two equal waves adds, after transactions ended.
    The first wave pays for what is needed once, and leaves memory of ended transactions for the second to use."""
    count = int(setting("LINES", "10000"))
    users = user_names(2 * count)
    with Bench(report) as bench:
        servers = bench.start("registrations", users)
        waves = [bench.users_file(users, 0, count), bench.users_file(users, count, 2 * count)]

        def register(wave):
            # One server after the other: both at once would press on the CPU that SIPp has.
            for server in servers:
                run = bench.load("registrations", server, 1000, count, users=waves[wave]).finish()
                must_be_complete(run)

        growth = second_wave(servers, register)
        keep_growth(report, "bytes_per_binding", growth, servers, count)
    held = int(setting("HELD_CALLS", "5000"))
    with Bench(report) as bench:
        servers = bench.start("calls")
        hold_ms = int(1000 * (4 * held / 500 + 2 * SETTLE_S + 15))
        loads = []

        def call(_):
            for server in servers:
                loads.append(bench.load("calls", server, 500, held, hold_ms=hold_ms))
                time.sleep(held / 500 + 1)

        growth = second_wave(servers, call)
        for running in loads:
            must_be_complete(running.finish())
        keep_growth(report, "bytes_per_established_call", growth, servers, held)
    with Bench(report) as bench:
        relays.memory(report, bench, int(setting("ANCHORED_CALLS", "700")), SETTLE_S)


def relay(report):
    """CPU and delay of a relayed packet."""
    with Bench(report) as bench:
        relays.measure(report, bench, rates("STREAMS", "500"), bench.seconds)


def transcode(report):
    """Calls per core between phones that share no codec."""
    with Bench(report) as bench:
        transcoding.measure(report, bench, int(setting("TRANSCODED_CALLS", "100")), bench.seconds, bench.pairs)


def relay_kernel(report):
    """CPU of the whole system and delay of a packet that the kernel relays."""
    with Bench(report) as bench:
        kernel.measure(report, bench, rates("STREAMS", "500"), bench.seconds)


def second_wave(servers, wave):
    """Bytes that each server has grown by in the second wave."""
    sizes = []
    for number in range(2):
        wave(number)
        time.sleep(SETTLE_S)
        sizes.append([process.memory_bytes(server.process.pid) for server in servers])
    return [after - before for before, after in zip(*sizes)]


def must_be_complete(run):
    if run["done"] < run["asked"]:
        raise RuntimeError(f"{run['server']}: {run['limit']}")


def keep_growth(report, metric, growth, servers, count):
    ours, theirs = (grown / count for grown in growth)
    report.raw("memory", {"metric": metric, "count": count, "ours": ours, "theirs": theirs})
    report.figure("memory", metric, [ours], servers[1].name, [theirs], 1)


def start(report):
    """Milliseconds from the start of the process to the first answered REGISTER, with all lines and bindings stored.
    There is no peer: Kamailio keeps its registrations in memory."""
    users = user_names(int(setting("START_LINES", "100000")))
    with Bench(report) as bench:
        # Any CPU: a start may use them all.
        node = bench.own(Node(bench.directory, None, bench.callee_port, users))
        Phone(node, users[0]).register()
        process.stop(node.process)
        bind_all(node, users)
        runs = []
        for number in range(int(setting("STARTS", "5"))):
            run = measure(node, users[len(users) // 2 + number])
            report.raw("start", {"lines": len(users), "load_average": os.getloadavg()[0], **run})
            print(f"start          {len(users)} lines  {run}", flush=True)
            runs.append(run)
        for metric, key in [("ms_to_first_register", "registered_ms"), ("cpu_ms", "cpu_ms"), ("ms_to_ready", "ready_ms")]:
            report.figure("start", metric, [run[key] for run in runs], None, [], len(runs))


def overload(report):
    """Calls that come through, at multiples of what the node can do. It is held to a share of a CPU that the caller exceeds
    tenfold, and anchors media: a call costs it more than a refusal, and SIPp can offer ten times as many. What it can do is
    tried, for a call costs less in a crowd."""
    share = float(setting("OVERLOAD_SHARE", "0.03"))
    seconds = int(setting("OVERLOAD_SECONDS", "20"))
    with Bench(report) as bench:
        bench.own(load.Callee(bench.callee_port, bench.directory, bench.shim, bench.load_cpu))
        node = bench.own(Node(bench.directory, bench.server_cpu, bench.callee_port, anchor=True))
        bench.load("calls", node, 50, 250).finish()
        alone = bench.load("calls", node, 100, 1000).finish()
        rough = share * 1e6 / alone["cpu_us"]
        cage = bench.own(Cage(node.process.pid, share))
        capacity = int(overload_capacity(bench, node, rough))
        print(
            f"overload       {share:.0%} of a CPU by {cage.kind}: {capacity} calls/s; {rough:.0f} if each took as long as alone",
            flush=True,
        )
        for factor in (1, 2, 5, 10):
            run = Rush(bench, node, factor * capacity, seconds).finish()
            run = {"factor": factor, "capacity_per_sec": capacity, "held_by": cage.kind, "share": share, **run}
            report.raw("overload", run)
            print(f"overload       {factor:>2} times  {run}", flush=True)
            report.figure(f"overload@{factor}", "good_per_capacity", [run["good_per_sec"] / capacity], None, [], 1)
            report.figure(f"overload@{factor}", "response_ms_p99", [run["response_ms_p99"]], None, [], 1)
            time.sleep(15)


def overload_capacity(bench, node, rough):
    """The most calls a second that come through, at whatever rate: that is asked for more and more until most is refused."""
    best, rate = 0, max(20, 2 * rough)
    while True:
        run = Rush(bench, node, int(rate), 10).finish()
        print(f"overload       trying {rate:.0f} calls/s: {run['good_per_sec']} come through", flush=True)
        best = max(best, run["good_per_sec"])
        time.sleep(8)
        if run["good_per_sec"] < 0.8 * run["asked_per_sec"]:
            return best
        rate *= 1.6


def load_tester(report):
    """`offhook load` beside SIPp: CPU per call, highest rate on a core, memory per running call."""
    with Bench(report) as bench:
        tester.run(report, bench, int(setting("LOAD_RATE", "2000")))


def load_streams(report):
    """Media of `offhook load`: CPU per RTP stream beside SIPp, and calls with sound both ways on this machine."""
    with Bench(report) as bench:
        streams.run(report, bench)


BENCHES = {
    "calls": calls,
    "registrations": registrations,
    "memory": memory,
    "relay": relay,
    "transcode": transcode,
    "relay-kernel": relay_kernel,
    "start": start,
    "overload": overload,
    "load": load_tester,
    "streams": load_streams,
}


def main():
    wanted = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]}: allowed are {', '.join(BENCHES)}")
    report = Report(setting("RESULTS", ROOT / "target/bench"))
    try:
        for name in wanted:
            BENCHES[name](report)
    finally:
        report.print()


if __name__ == "__main__":
    main()
