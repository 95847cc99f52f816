"""Writes and reads with a client's default settings until standard input closes.

    gaps.py librdkafka|kafka-python BOOTSTRAP TOPIC PARTITIONS RATE FILE

The file gets one line per event: `W` (acknowledged) or `R` (read), the time in nanoseconds since
1970, the partition. Only acks=all is asked for, where it is not the default.
"""

import os
import sys
import threading
import time

VALUE = b"x" * 100
stop = threading.Event()


class Journal:
    """The file of events, and the count of records that were given up."""

    def __init__(self, path):
        self.file = open(path, "w", buffering=1)
        self.lock = threading.Lock()
        self.failed = 0

    def note(self, kind, partition):
        with self.lock:
            self.file.write(f"{kind} {time.time_ns()} {partition}\n")

    def fail(self, partition, error):
        self.failed += 1
        print(f"not acknowledged: {partition}: {error}", file=sys.stderr)


def every(rate):
    """Yields at the rate until it is time to stop."""
    due = time.monotonic()
    while not stop.is_set():
        yield
        due = max(due + 1 / rate, time.monotonic() - 1)
        stop.wait(max(0, due - time.monotonic()))


def with_librdkafka(bootstrap, topic, partitions, rate, journal):
    from confluent_kafka import Consumer, Producer

    producer = Producer({"bootstrap.servers": bootstrap})

    def read():
        group = f"gaps-{os.getpid()}"
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group,
                             "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        while not stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                journal.note("R", message.partition())
        consumer.close()

    reader = threading.Thread(target=read)
    reader.start()

    def done(error, message):
        if error is None:
            journal.note("W", message.partition())
        else:
            journal.fail(message.partition(), error)

    def serve():
        while not stop.is_set():
            producer.poll(0.05)

    server = threading.Thread(target=serve)
    server.start()
    for _ in every(rate):
        for partition in range(partitions):
            producer.produce(topic, VALUE, partition=partition, on_delivery=done)
    server.join()
    producer.flush(30)
    reader.join()


def with_kafka_python(bootstrap, topic, partitions, rate, journal):
    from kafka import KafkaConsumer, KafkaProducer

    servers = bootstrap.split(",")
    producer = KafkaProducer(bootstrap_servers=servers, acks="all")

    def read():
        consumer = KafkaConsumer(topic, bootstrap_servers=servers, group_id=f"gaps-{os.getpid()}",
                                 auto_offset_reset="earliest")
        while not stop.is_set():
            for tp, records in consumer.poll(timeout_ms=100).items():
                for _ in records:
                    journal.note("R", tp.partition)
        consumer.close()

    reader = threading.Thread(target=read)
    reader.start()
    for _ in every(rate):
        for partition in range(partitions):
            sent = producer.send(topic, VALUE, partition=partition)
            sent.add_callback(lambda metadata: journal.note("W", metadata.partition))
            sent.add_errback(lambda error, p=partition: journal.fail(p, error))
    producer.flush(30)
    reader.join()


def main():
    client, bootstrap, topic, partitions, rate, path = sys.argv[1:]
    journal = Journal(path)
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    run = {"librdkafka": with_librdkafka, "kafka-python": with_kafka_python}[client]
    run(bootstrap, topic, int(partitions), int(rate), journal)
    print(f"failed {journal.failed}")


main()
