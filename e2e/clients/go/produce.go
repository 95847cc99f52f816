package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

const partitions = 3

// codec sends a thousand records through one codec and reads them back equal and in order.
func (c *cluster) codec(ctx context.Context, name string) error {
	topic, err := c.topic(ctx, "codec-"+name, partitions)
	if err != nil {
		return err
	}
	producer, err := c.client(
		kgo.ProducerBatchCompression(codecs[name]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer producer.Close()
	const count = 1000
	sent := make([]*kgo.Record, count)
	for i := range sent {
		sent[i] = &kgo.Record{
			Topic:     topic,
			Partition: int32(i % partitions),
			Key:       fmt.Appendf(nil, "key %d", i),
			Value:     []byte(fmt.Sprintf("value %d ", i) + strings.Repeat("x", i%300)),
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
			Headers:   []kgo.RecordHeader{{Key: "index", Value: fmt.Appendf(nil, "%d", i)}},
		}
	}
	if err := producer.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return err
	}
	consumer, err := c.client(kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer consumer.Close()
	records, err := read(ctx, consumer, count)
	if err != nil {
		return err
	}
	next := map[int32]int64{}
	for _, r := range records {
		if r.Offset != next[r.Partition] {
			return fmt.Errorf("offset %d after %d", r.Offset, next[r.Partition]-1)
		}
		next[r.Partition]++
		want := sent[int(r.Offset)*partitions+int(r.Partition)]
		same := bytes.Equal(r.Key, want.Key) && bytes.Equal(r.Value, want.Value) &&
			r.Timestamp.Equal(want.Timestamp) && len(r.Headers) == 1 &&
			bytes.Equal(r.Headers[0].Value, want.Headers[0].Value)
		if !same {
			return fmt.Errorf("record at %d-%d differs: %v", r.Partition, r.Offset, r)
		}
	}
	return expect(len(records) == count, "%d records", len(records))
}

// idempotent keeps several small idempotent requests in flight and finds them in order.
func (c *cluster) idempotent(ctx context.Context) error {
	topic, err := c.topic(ctx, "idempotent", 1)
	if err != nil {
		return err
	}
	producer, err := c.client(kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(512))
	if err != nil {
		return err
	}
	defer producer.Close()
	const count = 2000
	for i := range count {
		producer.Produce(ctx, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i)}, nil)
	}
	if err := producer.Flush(ctx); err != nil {
		return err
	}
	consumer, err := c.client(kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer consumer.Close()
	records, err := read(ctx, consumer, count)
	if err != nil {
		return err
	}
	for i, r := range records {
		if string(r.Value) != fmt.Sprint(i) {
			return fmt.Errorf("record %d is %s", i, r.Value)
		}
	}
	return expect(len(records) == count, "%d records", len(records))
}

func (c *cluster) acks(ctx context.Context) error {
	topic, err := c.topic(ctx, "acks", 1)
	if err != nil {
		return err
	}
	for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
		producer, err := c.client(kgo.DisableIdempotentWrite(), kgo.RequiredAcks(acks))
		if err != nil {
			return err
		}
		for range 20 {
			record := &kgo.Record{Topic: topic, Value: []byte("v")}
			if err := producer.ProduceSync(ctx, record).FirstErr(); err != nil {
				producer.Close()
				return err
			}
		}
		producer.Close()
	}
	consumer, err := c.client(kgo.ConsumeTopics(topic))
	if err != nil {
		return err
	}
	defer consumer.Close()
	_, err = read(ctx, consumer, 60)
	return err
}

// offsetsByTime starts consumers and lists offsets at times inside and outside the log.
func (c *cluster) offsetsByTime(ctx context.Context) error {
	topic, err := c.topic(ctx, "time", 1)
	if err != nil {
		return err
	}
	producer, err := c.client()
	if err != nil {
		return err
	}
	defer producer.Close()
	for i := range 100 {
		r := &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(1_600_000_000_000 + int64(i)*1000)}
		if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	admin, err := c.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	for _, i := range []int64{0, 1, 50, 99} {
		listed, err := admin.ListOffsetsAfterMilli(ctx, 1_600_000_000_000+i*1000-10, topic)
		if err != nil {
			return err
		}
		if at, _ := listed.Lookup(topic, 0); at.Offset != i {
			return fmt.Errorf("offset at time %d is %d", i, at.Offset)
		}
	}
	start := kgo.NewOffset().AfterMilli(1_600_000_000_000 + 60_500)
	consumer, err := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(start))
	if err != nil {
		return err
	}
	defer consumer.Close()
	records, err := read(ctx, consumer, 39)
	if err != nil {
		return err
	}
	return expect(records[0].Offset == 61, "started at %d", records[0].Offset)
}

// sessionless fetches without fetch sessions, with limits that one record exceeds.
func (c *cluster) sessionless(ctx context.Context) error {
	topic, err := c.topic(ctx, "sessionless", partitions)
	if err != nil {
		return err
	}
	producer, err := c.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	for range 30 {
		r := &kgo.Record{Topic: topic, Value: make([]byte, 50_000)}
		if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	consumer, err := c.client(kgo.ConsumeTopics(topic), kgo.DisableFetchSessions(),
		kgo.FetchMaxBytes(1000), kgo.FetchMaxPartitionBytes(1000))
	if err != nil {
		return err
	}
	defer consumer.Close()
	_, err = read(ctx, consumer, 30)
	return err
}
