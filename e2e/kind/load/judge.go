package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// judge flushes, waits until the group has read everything that was acknowledged, reads the log
// once more from its start, and holds both against what was acknowledged.
func (l *load) judge(ctx context.Context) error {
	if err := l.producer.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	late := l.groupAtEnd(ctx)
	final, err := l.readAll(ctx)
	if err != nil {
		return fmt.Errorf("reading the log: %w", err)
	}
	l.mu.Lock()
	l.final = final
	l.verdict = "ok"
	l.mu.Unlock()
	group := l.report().Group
	l.ledger.Lock()
	group.Lost = 0
	for _, p := range l.ledger.parts {
		group.Lost += p.missing(&p.reads)
	}
	l.ledger.Unlock()
	if l.acks.Load() == 0 {
		return errors.New("nothing was acknowledged")
	}
	return errors.Join(late, final.broken("the log"), group.broken("the group"))
}

// groupAtEnd waits until the member has read every acknowledged record.
func (l *load) groupAtEnd(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var missing int64
		l.ledger.Lock()
		for _, p := range l.ledger.parts {
			missing += p.missing(&p.reads)
		}
		l.ledger.Unlock()
		if missing == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the group had still to read %d records", missing)
		}
	}
}

// readAll reads every partition from where the load began to its end.
func (l *load) readAll(ctx context.Context) (*pass, error) {
	ends, err := kadm.NewClient(l.producer).ListEndOffsets(ctx, l.topic)
	if err != nil {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	left := map[int32]int64{} // where each unfinished partition ends
	readings := make([]reading, l.partitions)
	for p := range int32(l.partitions) {
		readings[p] = newReading()
		end, ok := ends.Lookup(l.topic, p)
		if !ok || end.Err != nil {
			return nil, fmt.Errorf("partition %d has no end: %w", p, end.Err)
		}
		start := int64(0)
		from[p] = kgo.NewOffset().AtStart()
		if l.fresh {
			start = l.starts[p]
			from[p] = kgo.NewOffset().At(start)
		}
		if start < end.Offset {
			left[p] = end.Offset
		}
	}
	client, err := l.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: from}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%d partitions were not read to their end", len(left))
		}
		fetches.EachError(func(_ string, _ int32, err error) { l.failed("read", err) })
		fetches.EachRecord(func(r *kgo.Record) {
			readings[r.Partition].read(r.Offset, l.number(r))
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	sum := &pass{}
	l.ledger.Lock()
	defer l.ledger.Unlock()
	for i, p := range l.ledger.parts {
		sum.add(p, &readings[i])
	}
	return sum, nil
}
