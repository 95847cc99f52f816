"""A compacted topic and the offsets topic, written by one client and read by it again: before the
cleaner came, after it, and after a restart. The scenarios are run by name, in this order."""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata
from kafka import TopicPartition as KafkaPythonPartition
from kafka.errors import InvalidRecordError

from suite import main

TOPIC, GROUP = "compacted", "compacting"
KEYS, ROUNDS, COMMITS = 40, 150, 1500
# Deleted at the end; written by aborted transactions only at the end.
DELETED, ABORTED = range(0, 5), range(5, 10)


def value(key, number):
    return (f"{key}:{number} ".encode() * 200)[:1000]


def fill(bootstrap, replication):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    config = {
        "cleanup.policy": "compact",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.1",
        "file.delete.delay.ms": "100",
        "delete.retention.ms": "500",
    }
    topic = NewTopic(TOPIC, 1, replication, config=config)
    admin.create_topics([topic])[TOPIC].result(30)
    plain = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="lz4")
    for number in range(ROUNDS):
        for key in range(KEYS):
            plain.send(TOPIC, key=b"key %d" % key, value=value(key, number))
    for key in DELETED:
        plain.send(TOPIC, key=b"key %d" % key, value=None)
    plain.flush(60)
    try:
        plain.send(TOPIC, key=None, value=b"has no key").get(30)
        raise AssertionError("a record without a key was taken")
    except InvalidRecordError:
        pass
    plain.close()
    transactions(bootstrap)
    commit(bootstrap)


def transactions(bootstrap):
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "compacting"})
    producer.init_transactions(30)
    for number in range(30):
        is_commit = number % 2 == 0
        producer.begin_transaction()
        for key in range(KEYS, KEYS + 5) if is_commit else ABORTED:
            producer.produce(TOPIC, key=b"key %d" % key, value=value(key, number))
        # What is to be cleaned away has to be in the log. And this client may end an empty
        # transaction that the coordinator has not begun, which Kafka refuses for good.
        producer.flush(30)
        producer.commit_transaction(30) if is_commit else producer.abort_transaction(30)
    # What follows lets the segments before it be cleaned.
    for number in range(30, 34):
        producer.begin_transaction()
        for filler in range(600):
            producer.produce(TOPIC, key=b"filler %d" % (filler % 3), value=value(filler, number))
        producer.commit_transaction(30)


def commit(bootstrap):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False
    )
    partition = KafkaPythonPartition(TOPIC, 0)
    consumer.assign([partition])
    for number in range(COMMITS):
        consumer.commit({partition: OffsetAndMetadata(number + 1, "m" * 4000, -1)})
    consumer.close()


def read_again(bootstrap, _replication):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    last, count = {}, 0
    while True:
        message = consumer.poll(30)
        assert message is not None, "the end of the topic never came"
        if message.error():
            assert message.error().code() == -191, message.error()
            break
        count += 1
        last[message.key()] = message.value()
    consumer.close()
    for key in range(KEYS):
        wanted = None if key in DELETED else value(key, ROUNDS - 1)
        assert last.get(b"key %d" % key) == wanted, f"key {key}: {last.get(b'key %d' % key)!r}"
    for key in range(KEYS, KEYS + 5):
        assert last[b"key %d" % key] == value(key, 28), f"key {key} of a transaction"
    assert count < KEYS * ROUNDS / 2, f"{count} records are left"
    group = KafkaConsumer(bootstrap_servers=bootstrap, group_id=GROUP, enable_auto_commit=False)
    committed = group.committed(KafkaPythonPartition(TOPIC, 0))
    group.close()
    assert committed == COMMITS, f"the group is at {committed}"


SCENARIOS = {"fill": fill, "read-again": read_again}

if __name__ == "__main__":
    sys.exit(main("compaction", SCENARIOS, sys.argv))
