"""librdkafka through its Python binding: produce, consume, groups, offsets, admin."""

import functools
import os
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka import OFFSET_INVALID, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from suite import CODECS, eventually, fresh, last_line, main, one_owner_each

PARTITIONS = 6


@functools.cache  # a client that is collected takes its pending calls along
def admin(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def topic(bootstrap, replication, what, partitions=1, config=None):
    name = fresh("rd-" + what)
    new = NewTopic(name, partitions, replication, config=config or {})
    admin(bootstrap).create_topics([new])[name].result(30)
    return name


def dotted(key):
    return key if key.endswith("_cb") else key.replace("_", ".")


def consumer(bootstrap, **config):
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": fresh("rd-group"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
        | {dotted(key): value for key, value in config.items()}
    )


def read(client, count):
    records, deadline = [], time.monotonic() + 30
    while len(records) < count:
        assert time.monotonic() < deadline, f"only {len(records)} of {count} records came"
        for message in client.consume(500, timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            records.append(message)
    return records


def codec(name):
    def run(bootstrap, replication):
        where = topic(bootstrap, replication, "codec-" + name, 3)
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "compression.type": name,
                "enable.idempotence": True,
                "linger.ms": 5,
            }
        )
        count, errors = 1000, []
        for i in range(count):
            producer.produce(
                where,
                key=f"key {i}",
                value=f"value {i} " + "x" * (i % 300),
                partition=i % 3,
                timestamp=1_700_000_000_000 + i,
                headers={"index": str(i), "null": None},
                on_delivery=lambda error, _: errors.append(error) if error else None,
            )
        assert producer.flush(30) == 0 and not errors, f"undelivered: {errors}"
        client = consumer(bootstrap)
        client.assign([TopicPartition(where, p, 0) for p in range(3)])
        after = {0: 0, 1: 0, 2: 0}
        for message in read(client, count):
            i = message.offset() * 3 + message.partition()
            assert message.offset() == after[message.partition()], "offsets with a hole"
            after[message.partition()] += 1
            assert message.key().decode() == f"key {i}"
            assert message.value().decode() == f"value {i} " + "x" * (i % 300)
            assert message.timestamp()[1] == 1_700_000_000_000 + i
            assert message.headers() == [("index", str(i).encode()), ("null", None)]
        client.close()

    return run


def filled(bootstrap, replication, count, partitions=1):
    where = topic(bootstrap, replication, "filled", partitions)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    for i in range(count):
        for p in range(partitions):
            at = 1_600_000_000_000 + i * 1000
            producer.produce(where, value=str(i), partition=p, timestamp=at)
    assert producer.flush(30) == 0
    return where


def offsets_by_time(bootstrap, replication):
    where = filled(bootstrap, replication, 300)
    client = consumer(bootstrap)
    for i in [0, 1, 150, 299]:
        at = TopicPartition(where, 0, 1_600_000_000_000 + i * 1000 - 500)
        found = client.offsets_for_times([at], timeout=10)
        assert found[0].offset == i, f"{found} for {i}"
    assert client.get_watermark_offsets(TopicPartition(where, 0), timeout=10) == (0, 300)
    client.close()
    specs = {
        TopicPartition(where, 0): OffsetSpec.max_timestamp(),
    }
    for future in admin(bootstrap).list_offsets(specs).values():
        assert future.result(10).offset == 299


def commit_and_resume(bootstrap, replication):
    where = filled(bootstrap, replication, 40)
    group = fresh("rd-resume")
    first = consumer(bootstrap, group_id=group)
    first.subscribe([where])
    read(first, 40)
    first.commit(offsets=[TopicPartition(where, 0, 15, metadata="here")], asynchronous=False)
    first.close()
    second = consumer(bootstrap, group_id=group)
    committed = second.committed([TopicPartition(where, 0)], timeout=10)[0]
    assert committed.offset == 15 and committed.metadata == "here", committed
    second.subscribe([where])
    assert read(second, 25)[0].offset() == 15
    second.close()


class Member:
    """One group member polling on its own thread."""

    def __init__(self, bootstrap, where, group, strategy, **config):
        self.owned = set()
        self.rebalances = 0
        self.stopping = threading.Event()
        is_next = strategy == "consumer"
        self.cooperative = strategy == "cooperative-sticky" or is_next
        classic = {
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 500,
            "partition_assignment_strategy": strategy,
        }
        protocol = {"group_protocol": "consumer"} if is_next else classic
        self.client = consumer(bootstrap, group_id=group, **protocol, **config)
        self.client.subscribe([where], on_assign=self.take, on_revoke=self.give, on_lost=self.give)
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def take(self, client, partitions):
        self.rebalances += 1
        self.owned |= {p.partition for p in partitions}
        if self.cooperative:
            client.incremental_assign(partitions)
        else:
            client.assign(partitions)

    def give(self, client, partitions):
        self.owned -= {p.partition for p in partitions}
        if self.cooperative:
            client.incremental_unassign(partitions)
        else:
            client.unassign()

    def poll(self):
        while not self.stopping.is_set():
            self.client.poll(0.1)
        self.client.close()

    def leave(self):
        self.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive(), "a member does not close"


def settled(most, *members):
    eventually(
        f"an even assignment over {len(members)}",
        lambda: one_owner_each([set(m.owned) for m in members], most, PARTITIONS),
    )


def group(strategy):
    def run(bootstrap, replication):
        where, name = topic(bootstrap, replication, "group", PARTITIONS), fresh("rd-group")
        one = Member(bootstrap, where, name, strategy)
        settled(6, one)
        two = Member(bootstrap, where, name, strategy)
        settled(3, one, two)
        three = Member(bootstrap, where, name, strategy)
        settled(2, one, two, three)
        one.leave()
        settled(3, two, three)
        three.leave()
        settled(6, two)
        two.leave()

    return run


def static_members(bootstrap, replication):
    where, name = topic(bootstrap, replication, "static", PARTITIONS), fresh("rd-static")
    a = Member(bootstrap, where, name, "range", group_instance_id="a")
    b = Member(bootstrap, where, name, "range", group_instance_id="b")
    settled(3, a, b)
    owned, seen = set(b.owned), a.rebalances
    b.leave()
    again = Member(bootstrap, where, name, "range", group_instance_id="b")
    settled(3, a, again)
    assert again.owned == owned and a.rebalances == seen, "the return caused a rebalance"
    again.leave()
    a.leave()


def crash(strategy):
    def run(bootstrap, replication):
        where, name = topic(bootstrap, replication, "crash", PARTITIONS), fresh("rd-crash")
        one = Member(bootstrap, where, name, strategy)
        settled(6, one)
        command = [sys.executable, os.path.abspath(__file__), "member", bootstrap, where, name]
        command.append(strategy)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
            owned = last_line(victim, "3")
            assert owned == "3", f"the process to be killed owned {owned!r}"
        settled(6, one)
        one.leave()

    return run


def admin_calls(bootstrap, replication):
    client = admin(bootstrap)
    where = topic(bootstrap, replication, "admin", 3, {"retention.ms": "3600000"})

    def partitions():
        return client.list_topics(where, timeout=10).topics[where].partitions.values()

    eventually("three partitions, led and as wide as wanted", lambda: len(partitions()) == 3
               and all(p.leader >= 0 and len(p.replicas) == replication for p in partitions()))
    client.create_partitions([NewPartitions(where, 4)])[where].result(10)
    eventually("four partitions",
               lambda: len(partitions()) == 4)
    entry = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, where, incremental_configs=[entry])
    for future in client.incremental_alter_configs([resource]).values():
        future.result(10)

    def retention():
        described = client.describe_configs([ConfigResource(ResourceType.TOPIC, where)])
        return next(iter(described.values())).result(10)["retention.ms"].value

    eventually("the new retention", lambda: retention() == "60000")
    cluster = client.describe_cluster().result(10)
    assert len(cluster.nodes) >= replication and cluster.cluster_id
    client.delete_topics([where])[where].result(10)
    eventually("gone", lambda: where not in client.list_topics(timeout=10).topics)


def admin_groups(bootstrap, replication):
    client = admin(bootstrap)
    where, name = topic(bootstrap, replication, "groups", PARTITIONS), fresh("rd-groups")
    member = Member(bootstrap, where, name, "range")
    settled(6, member)
    described = client.describe_consumer_groups([name])[name].result(10)
    assert described.state.name == "STABLE" and len(described.members) == 1, described
    listed = client.list_consumer_groups().result(10)
    assert name in [g.group_id for g in listed.valid], "not listed"
    member.leave()
    offsets = ConsumerGroupTopicPartitions(name, [TopicPartition(where, 0, 7)])
    client.alter_consumer_group_offsets([offsets])[name].result(10)
    query = ConsumerGroupTopicPartitions(name, [TopicPartition(where, p) for p in (0, 1)])
    found = client.list_consumer_group_offsets([query])[name].result(10).topic_partitions
    assert [p.offset for p in found] == [7, OFFSET_INVALID], found
    client.delete_consumer_groups([name])[name].result(10)


def transform(bootstrap, replication):
    """Consumes, and produces what it consumed in transactions; every second one is aborted and
    done again. Each record comes out once."""
    count = 40
    source, out = filled(bootstrap, replication, count), topic(bootstrap, replication, "out", 2)
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": fresh("rd-transaction")}
    )
    producer.init_transactions(30)
    client = consumer(bootstrap, isolation_level="read_committed")
    client.assign([TopicPartition(source, 0, 0)])
    done, commits = 0, False
    while done < count:
        records = client.consume(10, timeout=10)
        assert records and not records[0].error(), f"nothing came after {done}"
        producer.begin_transaction()
        for message in records:
            producer.produce(out, value=message.value(), partition=message.offset() % 2)
        after = records[-1].offset() + 1
        offsets = [TopicPartition(source, 0, after)]
        producer.send_offsets_to_transaction(offsets, client.consumer_group_metadata(), 30)
        if commits:
            producer.commit_transaction(30)
            done = after
        else:
            producer.flush(30)
            producer.abort_transaction(30)
            client.seek(TopicPartition(source, 0, done))
        commits = not commits
    assert client.committed([TopicPartition(source, 0)], timeout=10)[0].offset == count
    client.close()
    reader = consumer(bootstrap, isolation_level="read_committed")
    reader.assign([TopicPartition(out, p, 0) for p in (0, 1)])
    values = sorted(int(message.value()) for message in read(reader, count))
    assert values == list(range(count)), values
    reader.close()


def consumer_protocol(bootstrap, replication):
    """The new group protocol works, or it is said at once that it does not."""
    where, told = filled(bootstrap, replication, 3), []
    client = consumer(bootstrap, group_protocol="consumer", error_cb=told.append)
    client.subscribe([where])
    start, records = time.monotonic(), 0
    while records < 3 and not any("API version not supported" in str(error) for error in told):
        assert time.monotonic() - start < 15, f"neither records nor a reason: {told}"
        try:
            message = client.poll(0.2)
        except KafkaException as error:
            told.append(error.args[0])
            continue
        if message is not None and message.error():
            told.append(message.error())
        elif message is not None:
            records += 1
    client.close()


def next_expression(bootstrap, replication):
    """A subscription by expression, which brokers look up (KIP-848)."""
    where = filled(bootstrap, replication, 3)
    client = consumer(bootstrap, group_protocol="consumer")
    client.subscribe(["^" + where[:-1] + ".*"])
    assert {m.topic() for m in read(client, 3)} == {where}
    client.close()


def first_assign(bootstrap, replication):
    """A group's very first question, by a consumer that assigns itself, needs no second one."""
    where, told = filled(bootstrap, replication, 1), []
    client = consumer(bootstrap, error_cb=told.append)
    committed = client.committed([TopicPartition(where, 0)], 20)[0]
    assert committed.offset == OFFSET_INVALID, committed
    client.assign([TopicPartition(where, 0)])
    assert len(read(client, 1)) == 1
    client.commit(asynchronous=False)
    client.close()
    assert not told, told


def member_process(bootstrap, where, name, strategy):
    member = Member(bootstrap, where, name, strategy)
    while True:
        print(len(member.owned), flush=True)
        time.sleep(0.1)


SCENARIOS = {"codec-" + name: codec(name) for name in CODECS} | {
    "first-assign": first_assign,
    "offsets-by-time": offsets_by_time,
    "commit-resume": commit_and_resume,
    "group-eager": group("range"),
    "group-cooperative": group("cooperative-sticky"),
    "group-static": static_members,
    "group-crash": crash("range"),
    "admin": admin_calls,
    "admin-groups": admin_groups,
    "transaction-transform": transform,
    "absent-consumer-protocol": consumer_protocol,
}
# They need a cluster with short sessions: run if they are named.
NAMED = {
    "next-group": group("consumer"),
    "next-crash": crash("consumer"),
    "next-expression": next_expression,
}

if __name__ == "__main__":
    if sys.argv[1] == "member":
        member_process(*sys.argv[2:])
    sys.exit(main("librdkafka", SCENARIOS, sys.argv, NAMED))
