"""kafka-python through TLS and SASL: writes one record and reads it back.

    secure.py BOOTSTRAP CA MECHANISM USER PASSWORD TOPIC
"""

import sys

from kafka import KafkaConsumer, KafkaProducer

bootstrap, authority, mechanism, user, password, topic = sys.argv[1:]
security = {
    "bootstrap_servers": bootstrap,
    "security_protocol": "SASL_SSL",
    "ssl_cafile": authority,
    "sasl_mechanism": mechanism,
    "sasl_plain_username": user,
    "sasl_plain_password": password,
}
wanted = f"kafka-python {mechanism}".encode()
producer = KafkaProducer(**security, max_block_ms=20_000)
producer.send(topic, wanted).get(20)
producer.close()
consumer = KafkaConsumer(
    topic, **security, auto_offset_reset="earliest", consumer_timeout_ms=20_000
)
assert any(record.value == wanted for record in consumer), "the record did not come back"
consumer.close()
