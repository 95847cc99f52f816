"""librdkafka through TLS and SASL: writes one record and reads it back.

    secure_librdkafka.py BOOTSTRAP CA MECHANISM USER PASSWORD TOPIC
"""

import sys
import time

from confluent_kafka import Consumer, Producer

bootstrap, authority, mechanism, user, password, topic = sys.argv[1:]
security = {
    "bootstrap.servers": bootstrap,
    "security.protocol": "SASL_SSL",
    "ssl.ca.location": authority,
    "sasl.mechanism": mechanism,
    "sasl.username": user,
    "sasl.password": password,
}
wanted = f"librdkafka {mechanism}".encode()
outcomes = []
producer = Producer(security | {"message.timeout.ms": 20_000})
producer.produce(topic, wanted, on_delivery=lambda error, _: outcomes.append(error))
producer.flush(30)
assert outcomes == [None], f"not written: {outcomes}"
consumer = Consumer(security | {"group.id": mechanism, "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
deadline = time.monotonic() + 30
while True:
    assert time.monotonic() < deadline, "the record did not come back"
    message = consumer.poll(1)
    if message and not message.error() and message.value() == wanted:
        break
consumer.close()
