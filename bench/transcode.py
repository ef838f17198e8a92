"""Calls between phones that share no codec: how many of them one CPU carries, the whole node measured."""

from anchored import Phones
from relay import PORTS, Relay, RtpLoad, describe, wait_for_quiet
from servers import Node
from speech import G722, OPUS, PCMA

# Both directions of a call.
PACKETS_PER_CALL_AND_SEC = 100
PAIRINGS = [(PCMA, G722), (PCMA, OPUS), (G722, OPUS)]


def measure(report, bench, calls, seconds, runs):
    """Each pairing with a node of its own: how hard it tries follows its load."""
    for left, right in PAIRINGS:
        name = f"{left.name}-{right.name}"
        directory = bench.directory / name
        directory.mkdir()
        node = Node(directory, bench.server_cpu, bench.callee_port, anchor=True, media_ports=PORTS, transcode="always")
        phones = Phones(node, bench.callee_port, (left, right))
        try:
            relay = Relay(node, phones, directory)
            load = RtpLoad(directory, bench.load_cpu, [codec.write(directory) for codec in (left, right)])
            relay.grow(calls)
            good = []
            for _ in range(runs):
                wait_for_quiet()
                run = load.run(relay, 0, calls, seconds)
                run["calls_per_core"] = round(1e6 / (PACKETS_PER_CALL_AND_SEC * run["cpu_us"]))
                report.raw(f"transcode@{name}", run)
                print(f"{name:<10} {run['calls_per_core']:>5} calls per core  {describe(run)}", flush=True)
                if run["good"]:
                    good.append(run)
        finally:
            phones.stop()
            node.stop()
        for metric in ("calls_per_core", "latency_p50_us", "latency_p99_us"):
            report.figure(f"transcode@{name}", metric, [run[metric] for run in good], None, [], len(good))
