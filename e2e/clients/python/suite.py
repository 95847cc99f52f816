"""Runs scenarios one by one: a PASS or FAIL line each, and a non-zero end if any failed."""

import itertools
import sys
import threading
import time
import traceback

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
RUN = format(int(time.time() * 1000), "x")
_names = itertools.count(1)


def fresh(what):
    return f"py-{what}-{RUN}-{next(_names)}"


def eventually(what, condition, seconds=20.0):
    """Waits until the condition holds; metadata reaches brokers one after the other, so an error
    of the condition (a topic that is not known yet) is a "not yet"."""
    deadline = time.monotonic() + seconds
    while True:
        last = None
        try:
            if condition():
                return
        except Exception as error:  # named when the time is up
            last = error
        assert time.monotonic() < deadline, f"never happened: {what} (last error: {last!r})"
        time.sleep(0.05)


def last_line(process, wanted, seconds=60.0):
    """Reads what a process prints until it is `wanted`, then kills it; its last line."""
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    line = ""
    for line in process.stdout:
        if line.strip() == wanted:
            break
    limit.cancel()
    process.kill()
    return line.strip()


def one_owner_each(owned, most, total):
    """Whether `total` partitions are spread over the members, none with more than `most`."""
    flat = [p for partitions in owned for p in partitions]
    return (
        len(flat) == total
        and len(set(flat)) == total
        and all(len(partitions) <= most for partitions in owned)
    )


def main(label, scenarios, argv, named=None):
    """`argv`: bootstrap, replication factor, names of scenarios (none: all of them,
    but for those that are run by name only)."""
    bootstrap, replication, names = argv[1], int(argv[2]), argv[3:]
    failed = 0
    names = names or list(scenarios)
    scenarios = scenarios | (named or {})
    for name in names:
        start = time.monotonic()
        try:
            scenarios[name](bootstrap, replication)
        except Exception as error:  # the suite goes on, the end is non-zero
            failed += 1
            print(f"FAIL {label}/{name}: {error!r}")
            traceback.print_exc(file=sys.stdout)
        else:
            print(f"PASS {label}/{name} {(time.monotonic() - start) * 1000:.0f} ms")
        sys.stdout.flush()
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0
