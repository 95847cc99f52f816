"""Moves amounts between accounts in transactions, reads them back with isolation, and writes down
what it did and saw: the lines that e2e/src/bank.rs checks. Ends after a line on standard input.

bank.py BOOTSTRAP TOPIC PARTITIONS WORKERS
"""

import random
import sys
import threading
import time

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

ACCOUNTS = 10
LIMIT = 90.0
stop = threading.Event()
_printing = threading.Lock()


def emit(*words):
    with _printing:
        print(*words, flush=True)


def note(*words):
    print(*words, file=sys.stderr, flush=True)


def producer(bootstrap, worker):
    """A producer of this worker; whatever its former self left open is ended by it."""
    deadline = time.monotonic() + LIMIT
    while True:
        made = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": f"bank-{worker}",
                "transaction.timeout.ms": 10_000,
                "linger.ms": 0,
            }
        )
        try:
            made.init_transactions(30)
            return made
        except KafkaException as error:
            note("init", worker, error)
            assert time.monotonic() < deadline, f"worker {worker} never begins: {error}"


def settled(step, what):
    """Repeats a step while the client says that it may be. Its error, if there is one left."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            step(10)
            return None
        except KafkaException as raised:
            error = raised.args[0]
            note(what, error)
            if not error.retriable() or time.monotonic() > deadline:
                return error


def transfer(client, topic, partitions, name, aborts):
    """One transfer; what became of it."""
    source = random.randrange(partitions)
    target = source if name.startswith("in-") else (source + 1) % partitions
    amount = random.randint(1, 100)
    sides = [(source, source * ACCOUNTS, -amount), (target, target * ACCOUNTS + 1, amount)]
    error = None
    try:
        client.begin_transaction()
        for partition, account, delta in sides:
            client.produce(topic, partition=partition, value=f"{name} {account} {delta}")
    except KafkaException as raised:
        error = raised.args[0]
        note("produce", name, error)
    if error is None and not aborts:
        error = settled(client.commit_transaction, f"commit {name}")
        if error is None:
            return "commit"
    if error is not None and not error.txn_requires_abort():
        return "unknown"
    return "abort" if settled(client.abort_transaction, f"abort {name}") is None else "unknown"


def work(bootstrap, topic, partitions, worker):
    client, count = producer(bootstrap, worker), 0
    while not stop.is_set():
        count += 1
        name = f"{random.choice(['in', 'to'])}-{worker}-{count}"
        emit("begin", name)
        outcome = transfer(client, topic, partitions, name, random.random() < 0.2)
        emit(outcome, name)
        if outcome == "unknown":
            client = producer(bootstrap, worker)


def ends(admin, topic, partitions, level):
    """Ends of the partitions that have a leader: of others this client tells neither an offset nor
    an error."""
    asked = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}
    told = admin.list_offsets(asked, isolation_level=level, request_timeout=10)
    offsets = {where.partition: future.result().offset for where, future in told.items()}
    return {partition: offset for partition, offset in offsets.items() if offset >= 0}


def snapshot(bootstrap, topic, partition, end, number):
    """Everything of a partition below an offset."""
    client = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bank-readers",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
        }
    )
    client.assign([TopicPartition(topic, partition, 0)])
    lines, deadline = [], time.monotonic() + LIMIT
    while True:
        assert time.monotonic() < deadline, f"partition {partition} is not read up to {end}"
        message = client.poll(0.2)
        if message is None:
            continue
        error = message.error()
        if error is None:
            if message.offset() >= end:
                break
            lines.append((message.offset(), message.value().decode()))
        elif error.code() != KafkaError._PARTITION_EOF:
            note("read", error)
        elif message.offset() >= end:
            break
    client.close()
    with _printing:
        print("snapshot", number, partition)
        for offset, value in lines:
            print("read", number, partition, offset, value, flush=True)


def read(bootstrap, topic, partitions):
    admin, number = AdminClient({"bootstrap.servers": bootstrap}), 0
    while not stop.is_set():
        number += 1
        try:
            stable = ends(admin, topic, partitions, IsolationLevel.READ_COMMITTED)
        except KafkaException as error:
            note("list offsets", error)
            continue
        for partition, end in stable.items():
            snapshot(bootstrap, topic, partition, end, number)
        time.sleep(0.5)


def rest(bootstrap, topic, partitions):
    """Waits until no transaction is open, and takes the last snapshots."""
    admin, deadline = AdminClient({"bootstrap.servers": bootstrap}), time.monotonic() + LIMIT
    while True:
        try:
            stable = ends(admin, topic, partitions, IsolationLevel.READ_COMMITTED)
            high = ends(admin, topic, partitions, IsolationLevel.READ_UNCOMMITTED)
            is_late = time.monotonic() > deadline
            if len(stable) == len(high) == partitions and (stable == high or is_late):
                break
        except KafkaException as error:
            note("list offsets", error)
        assert time.monotonic() < deadline + LIMIT, "the partitions have no leaders"
        time.sleep(0.2)
    for partition in range(partitions):
        emit("stable", partition, stable[partition], high[partition])
        snapshot(bootstrap, topic, partition, stable[partition], "final")


def main(bootstrap, topic, partitions, workers):
    failed = []

    def guarded(run, *args):
        try:
            run(bootstrap, topic, partitions, *args)
        except BaseException as error:
            failed.append(error)
            note("failed", repr(error))

    threads = [threading.Thread(target=guarded, args=(work, w)) for w in range(workers)]
    threads.append(threading.Thread(target=guarded, args=(read,)))
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    rest(bootstrap, topic, partitions)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
