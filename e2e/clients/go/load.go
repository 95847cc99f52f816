package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// journal holds one line per acknowledged record: time in ns, partition, sequence, offset.
type journal struct {
	mu     sync.Mutex
	out    *bufio.Writer
	acked  int
	failed int
}

func (j *journal) promise(partition int32, sequence int64) func(*kgo.Record, error) {
	return func(r *kgo.Record, err error) {
		now := time.Now().UnixNano()
		j.mu.Lock()
		defer j.mu.Unlock()
		if err != nil {
			j.failed++
			fmt.Fprintf(os.Stderr, "not acknowledged: %d/%d: %v\n", partition, sequence, err)
			return
		}
		j.acked++
		fmt.Fprintf(j.out, "%d %d %d %d\n", now, partition, sequence, r.Offset)
	}
}

// loader writes idempotently with acks=all and small timeouts: a client that finds the new
// leader as soon as there is one, so that the gap it sees is the cluster's.
func loader(seeds []string) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(seeds...),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1_000_000),
		kgo.MetadataMinAge(20*time.Millisecond),
		kgo.MetadataMaxAge(500*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.DialTimeout(300*time.Millisecond),
		kgo.ProduceRequestTimeout(300*time.Millisecond),
		kgo.RequestTimeoutOverhead(300*time.Millisecond),
	)
}

func load(args []string) error {
	count, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	rate, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	file, err := os.Create(args[4])
	if err != nil {
		return err
	}
	defer file.Close()
	client, err := loader(strings.Split(args[0], ","))
	if err != nil {
		return err
	}
	defer client.Close()
	j := &journal{out: bufio.NewWriterSize(file, 1<<20)}
	stop := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	ctx := context.Background()
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	padding := strings.Repeat(".", 80)
	for sequence, going := int64(0), true; going; sequence++ {
		for p := range int32(count) {
			value := fmt.Appendf(nil, "%d %s", sequence, padding)
			record := &kgo.Record{Topic: args[1], Partition: p, Value: value}
			client.Produce(ctx, record, j.promise(p, sequence))
		}
		select {
		case <-tick.C:
		case <-stop:
			going = false
		}
	}
	flush, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := client.Flush(flush); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.out.Flush(); err != nil {
		return err
	}
	fmt.Printf("acknowledged %d failed %d\n", j.acked, j.failed)
	if j.failed > 0 {
		return fmt.Errorf("%d records were given up", j.failed)
	}
	return nil
}
