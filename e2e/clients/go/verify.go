package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// acknowledged reads a journal: for each partition the sequence that was acked at each offset.
func acknowledged(path string) (map[int32]map[int64]int64, int, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	acked, count := map[int32]map[int64]int64{}, 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var at, sequence, offset int64
		var partition int32
		_, err := fmt.Sscan(lines.Text(), &at, &partition, &sequence, &offset)
		if err != nil {
			return nil, 0, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		if acked[partition] == nil {
			acked[partition] = map[int64]int64{}
		}
		if other, twice := acked[partition][offset]; twice {
			return nil, 0, fmt.Errorf("offset %d of partition %d was acked for %d and %d",
				offset, partition, other, sequence)
		}
		acked[partition][offset] = sequence
		count++
	}
	return acked, count, lines.Err()
}

// verify reads the whole topic: every acknowledged record is where its ack said, exactly once,
// and each partition's sequence only grows.
func verify(args []string) error {
	acked, count, err := acknowledged(args[2])
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(args[0], ",")...),
		kgo.ConsumeTopics(args[1]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, args[1])
	if err != nil {
		return err
	}
	left := map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		err = errors.Join(err, o.Err)
		if o.Offset > 0 {
			left[o.Partition] = true
		}
	})
	if err != nil {
		return err
	}
	last, read, faults := map[int32]int64{}, 0, []error{}
	for len(left) > 0 && len(faults) < 20 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("the log was not read to its end: %v left", left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			faults = append(faults, check(r, acked, last)...)
			if end, _ := ends.Lookup(args[1], r.Partition); r.Offset+1 >= end.Offset {
				delete(left, r.Partition)
			}
		})
	}
	for partition, offsets := range acked {
		for offset, sequence := range offsets {
			faults = append(faults, fmt.Errorf("lost: partition %d offset %d sequence %d",
				partition, offset, sequence))
		}
	}
	fmt.Printf("acknowledged %d read %d faults %d\n", count, read, len(faults))
	return errors.Join(faults[:min(len(faults), 20)]...)
}

func check(r *kgo.Record, acked map[int32]map[int64]int64, last map[int32]int64) []error {
	var faults []error
	text, _, _ := strings.Cut(string(r.Value), " ")
	sequence, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return []error{fmt.Errorf("foreign record at %d-%d", r.Partition, r.Offset)}
	}
	if before, any := last[r.Partition]; any && sequence <= before {
		faults = append(faults, fmt.Errorf("partition %d offset %d: sequence %d after %d",
			r.Partition, r.Offset, sequence, before))
	}
	last[r.Partition] = sequence
	if want, ok := acked[r.Partition][r.Offset]; ok {
		if want != sequence {
			faults = append(faults, fmt.Errorf("partition %d offset %d: acked %d, holds %d",
				r.Partition, r.Offset, want, sequence))
		}
		delete(acked[r.Partition], r.Offset)
	}
	return faults
}
