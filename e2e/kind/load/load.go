package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const payload = 128

// load is a producer, a member of a group and what is known of both.
type load struct {
	options
	ledger   *ledger
	codes    *codes
	producer *kgo.Client
	consumer *kgo.Client
	stop     chan struct{}
	stopOnce sync.Once
	fresh    bool // the topic may hold what others wrote: starts read where it starts writing
	starts   map[int32]int64
	acks     atomic.Int64
	mu       sync.Mutex // of what follows
	state    string
	failures map[string]int64
	final    *pass
	verdict  string
	started  time.Time
	ended    time.Time
}

func newLoad(o options) (*load, error) {
	if o.bootstrap == "" || o.topic == "" || o.partitions < 1 || o.rate < 1 {
		return nil, errors.New("--bootstrap and --topic are needed, --partitions and --rate are positive")
	}
	l := &load{options: o, ledger: newLedger(o.partitions), codes: newCodes(),
		stop: make(chan struct{}), state: "starting", failures: map[string]int64{}}
	var err error
	// Idempotent and acknowledged by all of the ISR is what franz-go does unasked.
	l.producer, err = l.client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.UnknownTopicRetries(-1))
	return l, err
}

func (l *load) client(more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(l.bootstrap, ",")...),
		kgo.Dialer(l.codes.dial),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.MetadataMaxAge(10 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	}, more...)...)
}

func (l *load) close() {
	l.producer.Close()
	if l.consumer != nil {
		l.consumer.Close()
	}
}

func (l *load) stopProducing() {
	l.stopOnce.Do(func() { close(l.stop) })
}

// sent waits until that many records are acknowledged, or for the context.
func (l *load) sent(ctx context.Context, count int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for l.acks.Load() < int64(count) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// work produces until it is stopped, then drains and judges.
func (l *load) work(ctx context.Context) {
	err := l.begin(ctx)
	if err == nil {
		done := make(chan struct{})
		reading, finished := context.WithCancel(ctx)
		go func() { defer close(done); l.consume(reading) }()
		l.produce(ctx)
		l.enter("draining")
		draining, cancel := context.WithTimeout(ctx, l.drain)
		err = l.judge(draining)
		cancel()
		finished()
		<-done
	}
	l.mu.Lock()
	l.ended = time.Now()
	if err != nil {
		l.verdict = err.Error()
	}
	l.mu.Unlock()
	l.enter("done")
}

func (l *load) enter(state string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = state
}

// begin waits for the topic and joins the group.
func (l *load) begin(ctx context.Context) error {
	l.started = time.Now()
	admin := kadm.NewClient(l.producer)
	for {
		ends, err := admin.ListEndOffsets(ctx, l.topic)
		if err == nil {
			err = l.whole(ends)
		}
		if err == nil {
			break
		}
		l.failed("waiting for the topic", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the topic: %w", err)
		case <-l.stop:
			return errors.New("stopped before the topic was there")
		case <-time.After(500 * time.Millisecond):
		}
	}
	l.mu.Lock()
	l.failures = map[string]int64{}
	l.mu.Unlock()
	var err error
	l.consumer, err = l.client(
		kgo.ConsumerGroup(l.group), kgo.ConsumeTopics(l.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.AutoCommitInterval(time.Second))
	l.enter("running")
	return err
}

// whole takes the ends of the log, if all partitions have one, as where our records will begin.
func (l *load) whole(ends kadm.ListedOffsets) error {
	if err := ends.Error(); err != nil {
		return err
	}
	l.starts = map[int32]int64{}
	for p := range int32(l.partitions) {
		end, ok := ends.Lookup(l.topic, p)
		if !ok {
			return fmt.Errorf("partition %d does not exist", p)
		}
		l.starts[p] = end.Offset
	}
	return nil
}

func (l *load) produce(ctx context.Context) {
	tick := time.NewTicker(time.Second / time.Duration(l.rate))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
			l.send(ctx, int32(i%l.partitions))
		case <-l.stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (l *load) send(ctx context.Context, partition int32) {
	number, at := l.ledger.take(partition), time.Now()
	value := make([]byte, payload)
	binary.BigEndian.PutUint64(value, uint64(number))
	record := &kgo.Record{Topic: l.topic, Partition: partition, Value: value,
		Key: fmt.Appendf(nil, "%s/%d", l.group, partition)}
	l.producer.Produce(ctx, record, func(_ *kgo.Record, err error) {
		l.ledger.ack(partition, number, at, err)
		if err != nil {
			l.failed("produce", err)
			return
		}
		l.acks.Add(1)
	})
}

// consume reads along as a member of the group.
func (l *load) consume(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := l.consumer.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) {
			if ctx.Err() == nil {
				l.failed("consume", err)
			}
		})
		l.ledger.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			if int(r.Partition) < l.partitions && !l.old(r) {
				l.ledger.parts[r.Partition].reads.read(r.Offset, l.number(r))
			}
		})
		l.ledger.Unlock()
	}
}

// old is what was in the topic before a visitor came.
func (l *load) old(r *kgo.Record) bool {
	return l.fresh && r.Offset < l.starts[r.Partition]
}

// number is what this load wrote into the record, or negative.
func (l *load) number(r *kgo.Record) int64 {
	if len(r.Value) != payload || string(r.Key) != fmt.Sprintf("%s/%d", l.group, r.Partition) {
		return -1
	}
	return int64(binary.BigEndian.Uint64(r.Value))
}

func (l *load) failed(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < 100 {
		l.failures[what+": "+err.Error()]++
	}
}

type report struct {
	State     string           `json:"state"`
	Verdict   string           `json:"verdict"`
	Seconds   float64          `json:"seconds"`
	Sent      int64            `json:"sent"`
	Acked     int64            `json:"acked"`
	Failed    int64            `json:"failed"`
	Waiting   int64            `json:"waiting"`
	GapMs     int64            `json:"gapMs"`
	GapAt     string           `json:"gapAt"`
	WaitP99Ms float64          `json:"waitP99Ms"`
	WaitMaxMs float64          `json:"waitMaxMs"`
	Group     pass             `json:"group"`
	Log       *pass            `json:"log"`
	Codes     map[string]int64 `json:"codes"`
	Answers   int64            `json:"answers"`
	Unparsed  int64            `json:"unparsed"`
	Failures  map[string]int64 `json:"failures"`
}

// report is what is known now. The gap is the longest that any one partition went without an
// acknowledgement, a wait that still lasts included.
func (l *load) report() *report {
	r := &report{}
	r.Codes, r.Answers, r.Unparsed = l.codes.snapshot()
	l.mu.Lock()
	r.State, r.Verdict, r.Log = l.state, l.verdict, l.final
	r.Failures = maps.Clone(l.failures)
	end := l.ended
	if end.IsZero() {
		end = time.Now()
	}
	if !l.started.IsZero() {
		r.Seconds = end.Sub(l.started).Seconds()
	}
	l.mu.Unlock()

	l.ledger.Lock()
	defer l.ledger.Unlock()
	var gap time.Duration
	var waits []float64
	for _, p := range l.ledger.parts {
		r.Sent += p.next
		r.Acked += p.ackCount
		r.Failed += p.failed
		waits = append(waits, p.waits...)
		longest, at := p.gap, p.gapAt
		if since := end.Sub(p.lastAck); p.waiting() && !p.lastAck.IsZero() && since > longest {
			longest, at = since, end
		}
		if longest > gap {
			gap, r.GapAt = longest, at.UTC().Format(time.RFC3339Nano)
		}
		r.Group.add(p, &p.reads)
	}
	if r.State != "done" {
		r.Group.Lost = 0 // not yet read is not lost
	}
	r.Waiting, r.GapMs = r.Sent-r.Acked-r.Failed, gap.Milliseconds()
	r.WaitP99Ms, r.WaitMaxMs = quantile(waits, 0.99), quantile(waits, 1)
	return r
}

// broken is the first reason not to believe in this run.
func (r *report) broken() error {
	if r.Verdict != "ok" {
		return errors.New(r.Verdict)
	}
	return nil
}
