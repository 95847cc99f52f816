"""kafka-python, a client in pure Python: its own protocol code, assignors and admin client."""

import os
import subprocess
import sys
import threading
import time

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer
from kafka import OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import TopicAlreadyExistsError

from suite import CODECS, eventually, fresh, last_line, main, one_owner_each

PARTITIONS = 6


def topic(bootstrap, replication, what, partitions=1, configs=None):
    name = fresh("kp-" + what)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    wanted = {"num_partitions": partitions, "replication_factor": replication}
    admin.create_topics({name: wanted | {"configs": configs or {}}}, wait_for_metadata=True)
    admin.close()
    return name


def consumer(bootstrap, **config):
    return KafkaConsumer(
        bootstrap_servers=bootstrap,
        **{"auto_offset_reset": "earliest", "enable_auto_commit": False} | config,
    )


def read(client, count):
    records, deadline = [], time.monotonic() + 30
    while len(records) < count:
        assert time.monotonic() < deadline, f"only {len(records)} of {count} records came"
        for batch in client.poll(timeout_ms=200).values():
            records += batch
    return records


def codec(name):
    def run(bootstrap, replication):
        where = topic(bootstrap, replication, "codec-" + name, 3)
        producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type=None if name == "none" else name,
            linger_ms=5,
        )
        count = 600
        sent = [
            producer.send(
                where,
                key=f"key {i}".encode(),
                value=(f"value {i} " + "x" * (i % 300)).encode(),
                partition=i % 3,
                timestamp_ms=1_700_000_000_000 + i,
                headers=[("index", str(i).encode())],
            )
            for i in range(count)
        ]
        for i, future in enumerate(sent):
            assert future.get(timeout=30).offset == i // 3
        producer.close()
        client = consumer(bootstrap)
        client.assign([TopicPartition(where, p) for p in range(3)])
        for record in read(client, count):
            i = record.offset * 3 + record.partition
            assert record.key == f"key {i}".encode()
            assert record.value == (f"value {i} " + "x" * (i % 300)).encode()
            assert record.timestamp == 1_700_000_000_000 + i
            assert record.headers[0][1] == str(i).encode()
        client.close()

    return run


def filled(bootstrap, replication, count):
    where = topic(bootstrap, replication, "filled")
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    for i in range(count):
        producer.send(where, value=str(i).encode(), timestamp_ms=1_600_000_000_000 + i * 1000)
    producer.close()
    return where, TopicPartition(where, 0)


def offsets_by_time(bootstrap, replication):
    _, partition = filled(bootstrap, replication, 200)
    client = consumer(bootstrap)
    for i in [0, 1, 100, 199]:
        found = client.offsets_for_times({partition: 1_600_000_000_000 + i * 1000 - 500})
        assert found[partition].offset == i, f"{found} for {i}"
    assert client.offsets_for_times({partition: 1_700_000_000_000})[partition] is None
    assert client.beginning_offsets([partition])[partition] == 0
    assert client.end_offsets([partition])[partition] == 200
    client.assign([partition])
    client.seek(partition, 190)
    assert [r.value for r in read(client, 10)] == [str(i).encode() for i in range(190, 200)]
    client.close()


def commit_and_resume(bootstrap, replication):
    where, partition = filled(bootstrap, replication, 30)
    group = fresh("kp-resume")
    first = consumer(bootstrap, group_id=group)
    first.subscribe([where])
    read(first, 30)
    first.commit({partition: OffsetAndMetadata(12, "here", 0)})
    first.close()
    second = consumer(bootstrap, group_id=group)
    committed = second.committed(partition, metadata=True)
    assert committed.offset == 12 and committed.metadata == "here", committed
    second.subscribe([where])
    assert read(second, 18)[0].offset == 12
    second.close()


class Member(ConsumerRebalanceListener):
    """One group member polling on its own thread."""

    def __init__(self, bootstrap, where, group, assignor, **config):
        self.owned = set()
        self.stopping = threading.Event()
        self.client = consumer(
            bootstrap,
            group_id=group,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=[assignor],
            **config,
        )
        self.client.subscribe([where], listener=self)
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def on_partitions_assigned(self, assigned):
        self.owned |= {p.partition for p in assigned}

    def on_partitions_revoked(self, revoked):
        self.owned -= {p.partition for p in revoked}

    def on_partitions_lost(self, lost):
        self.owned -= {p.partition for p in lost}

    def poll(self):
        while not self.stopping.is_set():
            self.client.poll(timeout_ms=100)
        self.client.close()

    def leave(self):
        self.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive(), "a member does not close"


def settled(most, *members):
    eventually(
        f"an even assignment over {len(members)}",
        lambda: one_owner_each([set(m.owned) for m in members], most, PARTITIONS),
        30.0,
    )


def group(assignor):
    def run(bootstrap, replication):
        where, name = topic(bootstrap, replication, "group", PARTITIONS), fresh("kp-group")
        one = Member(bootstrap, where, name, assignor)
        settled(6, one)
        two = Member(bootstrap, where, name, assignor)
        settled(3, one, two)
        one.leave()
        settled(6, two)
        two.leave()

    return run


def crash(bootstrap, replication):
    where, name = topic(bootstrap, replication, "crash", PARTITIONS), fresh("kp-crash")
    one = Member(bootstrap, where, name, RangePartitionAssignor)
    settled(6, one)
    command = [sys.executable, os.path.abspath(__file__), "member", bootstrap, where, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        owned = last_line(victim, "3")
        assert owned == "3", f"the process to be killed owned {owned!r}"
    settled(6, one)
    one.leave()


def admin_calls(bootstrap, replication):
    where = topic(bootstrap, replication, "admin", 3, {"retention.ms": "3600000"})
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({where: {"num_partitions": 1, "replication_factor": replication}})
        raise AssertionError("the second create succeeded")
    except TopicAlreadyExistsError:
        pass
    eventually("three partitions",
               lambda: len(admin.describe_topics([where])[0]["partitions"]) == 3)
    admin.create_partitions({where: 4})
    eventually("four partitions",
               lambda: len(admin.describe_topics([where])[0]["partitions"]) == 4)
    resource = ConfigResource(ConfigResourceType.TOPIC, where, {"retention.ms": "60000"})
    admin.alter_configs([resource])
    query = ConfigResource(ConfigResourceType.TOPIC, where, None)

    def retention():
        found = admin.describe_configs([query], config_filter="all")
        return found["topic"][where]["retention.ms"]["value"]

    eventually("the new retention", lambda: retention() == "60000")
    cluster = admin.describe_cluster()
    assert len(cluster["brokers"]) >= replication and cluster["cluster_id"], cluster
    admin.describe_metadata_quorum()
    admin.delete_topics([where])
    eventually("gone", lambda: where not in admin.list_topics())
    admin.close()


def admin_groups(bootstrap, replication):
    where, name = topic(bootstrap, replication, "groups", PARTITIONS), fresh("kp-groups")
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    member = Member(bootstrap, where, name, RangePartitionAssignor)
    settled(6, member)
    described = admin.describe_groups([name])[name]
    assert described["group_state"] == "Stable" and len(described["members"]) == 1, described
    assert name in [g["group_id"] for g in admin.list_groups()], "not listed"
    member.leave()
    partition = TopicPartition(where, 0)
    admin.alter_group_offsets(name, {partition: OffsetAndMetadata(7, "", -1)})
    assert admin.list_group_offsets({name: [partition]})[name][partition].offset == 7
    admin.delete_groups([name])
    assert name not in [g["group_id"] for g in admin.list_groups()], "still listed"
    admin.close()


def member_process(bootstrap, where, name):
    member = Member(bootstrap, where, name, RangePartitionAssignor)
    while True:
        print(len(member.owned), flush=True)
        time.sleep(0.1)


SCENARIOS = {"codec-" + name: codec(name) for name in CODECS} | {
    "offsets-by-time": offsets_by_time,
    "commit-resume": commit_and_resume,
    "group-eager": group(RangePartitionAssignor),
    "group-cooperative": group(CooperativeStickyAssignor),
    "group-crash": crash,
    "admin": admin_calls,
    "admin-groups": admin_groups,
}

if __name__ == "__main__":
    if sys.argv[1] == "member":
        member_process(*sys.argv[2:])
    sys.exit(main("kafka-python", SCENARIOS, sys.argv))
