package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
)

var gapValue = bytes.Repeat([]byte("x"), 100)

// gapLoad writes and reads with a client's default settings. The journal gets one line per event:
// W (acknowledged) or R (read), the time in nanoseconds since 1970, the partition.
type gapLoad struct {
	servers    []string
	topic      string
	group      string
	partitions int32
	pause      time.Duration

	mu      sync.Mutex
	journal *os.File
	failed  int
}

func (l *gapLoad) note(kind string, partition int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.journal, "%s %d %d\n", kind, time.Now().UnixNano(), partition)
}

func (l *gapLoad) fail(partition int32, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	fmt.Fprintf(os.Stderr, "not acknowledged: %d: %v\n", partition, err)
}

// every calls send for each partition at the rate until the context ends.
func (l *gapLoad) every(ctx context.Context, send func(partition int32)) {
	ticker := time.NewTicker(l.pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for p := int32(0); p < l.partitions; p++ {
				send(p)
			}
		}
	}
}

// gaps CLIENT BOOTSTRAP TOPIC PARTITIONS RATE FILE, until standard input closes.
func gaps(args []string) error {
	if len(args) != 6 {
		return errors.New("usage: gaps franz-go|sarama BOOTSTRAP TOPIC PARTITIONS RATE FILE")
	}
	partitions, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	journal, err := os.Create(args[5])
	if err != nil {
		return err
	}
	defer journal.Close()
	load := &gapLoad{
		servers: strings.Split(args[1], ","), topic: args[2], partitions: int32(partitions),
		group: fmt.Sprintf("gaps-%d", os.Getpid()), pause: time.Second / time.Duration(rate),
		journal: journal,
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	run := map[string]func(context.Context, *gapLoad) error{
		"franz-go": gapsFranz, "sarama": gapsSarama,
	}[args[0]]
	if run == nil {
		return fmt.Errorf("no such client: %s", args[0])
	}
	if err := run(ctx, load); err != nil {
		return err
	}
	fmt.Println("failed", load.failed)
	return nil
}

func gapsFranz(ctx context.Context, l *gapLoad) error {
	producer, err := kgo.NewClient(kgo.SeedBrokers(l.servers...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	consumer, err := kgo.NewClient(kgo.SeedBrokers(l.servers...), kgo.ConsumeTopics(l.topic),
		kgo.ConsumerGroup(l.group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			consumer.PollFetches(ctx).EachRecord(func(r *kgo.Record) { l.note("R", r.Partition) })
		}
	}()
	defer consumer.Close()
	l.every(ctx, func(p int32) {
		record := &kgo.Record{Topic: l.topic, Partition: p, Value: gapValue}
		producer.Produce(context.Background(), record, func(r *kgo.Record, err error) {
			if err != nil {
				l.fail(p, err)
			} else {
				l.note("W", p)
			}
		})
	})
	return nil
}

// saramaReader is a group's handler that notes what it reads.
type saramaReader struct{ load *gapLoad }

func (saramaReader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (saramaReader) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (r saramaReader) ConsumeClaim(
	session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for m := range claim.Messages() {
		r.load.note("R", m.Partition)
		session.MarkMessage(m, "")
	}
	return nil
}

func gapsSarama(ctx context.Context, l *gapLoad) error {
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	producer, err := sarama.NewAsyncProducer(l.servers, config)
	if err != nil {
		return err
	}
	group, err := sarama.NewConsumerGroup(l.servers, l.group, config)
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			// It returns at each rebalance.
			_ = group.Consume(ctx, []string{l.topic}, saramaReader{l})
		}
	}()
	var done sync.WaitGroup
	done.Add(2)
	go func() {
		defer done.Done()
		for m := range producer.Successes() {
			l.note("W", m.Partition)
		}
	}()
	go func() {
		defer done.Done()
		for e := range producer.Errors() {
			l.fail(e.Msg.Partition, e.Err)
		}
	}()
	l.every(ctx, func(p int32) {
		value := sarama.ByteEncoder(gapValue)
		producer.Input() <- &sarama.ProducerMessage{Topic: l.topic, Partition: p, Value: value}
	})
	producer.AsyncClose()
	done.Wait()
	return group.Close()
}
