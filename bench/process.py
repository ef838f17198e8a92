"""What the kernel knows of a process: CPU time to the nanosecond, memory, children."""

import glob
import os
import signal
import socket
import subprocess
import time


def read(path):
    """A file of /proc; empty if the process is gone."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def family(root):
    """The process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := read(f"/proc/{entry}/stat")):
            parent = int(stat[stat.rindex(")") + 2 :].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def cpu_ns(root):
    """Nanoseconds on a CPU, all threads of the family, as the scheduler counts them."""
    total = 0
    for pid in family(root):
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            fields = read(path).split()
            total += int(fields[0]) if fields else 0
    return total


def switches(root):
    """How often a thread of the family was given a CPU."""
    total = 0
    for pid in family(root):
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            fields = read(path).split()
            total += int(fields[2]) if fields else 0
    return total


def busy_s():
    """Seconds that all CPUs together have worked, for whomever."""
    user, nice, system, _, _, irq, softirq = map(int, read("/proc/stat").splitlines()[0].split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def idle_s():
    """Seconds that all CPUs together had nothing to do. The kernel measures it, where it only samples what they did."""
    idle, iowait = map(int, read("/proc/stat").splitlines()[0].split()[4:6])
    return (idle + iowait) / os.sysconf("SC_CLK_TCK")


def memory_bytes(root):
    """Proportional set size of the family: a page shared by two processes counts once."""
    kilobytes = 0
    for pid in family(root):
        for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024


def steal_ms():
    """Milliseconds that the host gave this machine's CPUs to others, since boot."""
    return int(read("/proc/stat").splitlines()[0].split()[8]) * 1000 // os.sysconf("SC_CLK_TCK")


def free_port():
    """A port that is free now, for UDP and TCP on every loopback address used here."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("", 0))
            port = udp.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
                try:
                    tcp.bind(("", port))
                    return port
                except OSError:
                    continue


def spawn(command, cpu, log, cwd=None, env=None):
    """Starts a program on one CPU (any, if `cpu` is None); what it prints goes to the file `log`."""
    pinned = command if cpu is None else ["taskset", "-c", str(cpu), *command]
    with open(log, "ab") as output:
        return subprocess.Popen(
            [str(word) for word in pinned],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )


def stop(process, patience_s=10):
    """SIGTERM, and SIGKILL for what of its family is left after that."""
    members = family(process.pid)
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        pass
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    process.wait()


def wait_until(condition, patience_s, what):
    """Polls; raises if it takes too long."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not in {patience_s} s: {what}")
        time.sleep(0.05)
