package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transform consumes, and produces what it consumed in transactions; every second one is aborted
// and done again. Each record comes out once.
func (c *cluster) transform(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	in, err := c.topic(ctx, "transform-in", 1)
	if err != nil {
		return err
	}
	out, err := c.topic(ctx, "transform-out", 2)
	if err != nil {
		return err
	}
	const count = 40
	if err := c.send(ctx, in, count); err != nil {
		return err
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(c.seeds...),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.UnknownTopicRetries(50),
		kgo.TransactionalID(fresh("transform")),
		kgo.ConsumerGroup(fresh("transform-group")),
		kgo.ConsumeTopics(in),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.RequireStableFetchOffsets(),
	)
	if err != nil {
		return err
	}
	defer session.Close()
	for done, round := 0, 0; done < count; round++ {
		fetches := session.PollRecords(ctx, 10)
		for _, e := range fetches.Errors() {
			return fmt.Errorf("fetch of %s-%d after %d: %w", e.Topic, e.Partition, done, e.Err)
		}
		if err := session.Begin(); err != nil {
			return err
		}
		var records []*kgo.Record
		fetches.EachRecord(func(r *kgo.Record) {
			records = append(records, &kgo.Record{Topic: out, Value: r.Value})
		})
		if err := session.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		committed, err := session.End(ctx, kgo.TransactionEndTry(round%2 == 1))
		if err != nil {
			return err
		}
		if committed {
			done += len(records)
		}
	}
	return c.onceEach(ctx, out, count)
}

// onceEach reads what is committed: the numbers up to count, each once.
func (c *cluster) onceEach(ctx context.Context, topic string, count int) error {
	consumer, err := c.client(kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer consumer.Close()
	records, err := read(ctx, consumer, count)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, r := range records {
		if seen[string(r.Value)] {
			return fmt.Errorf("record %s came twice", r.Value)
		}
		seen[string(r.Value)] = true
	}
	for i := range count {
		if !seen[fmt.Sprint(i)] {
			return fmt.Errorf("record %d is lost", i)
		}
	}
	return expect(len(records) == count, "%d records", len(records))
}
