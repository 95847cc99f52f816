package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// cluster is what the scenarios run against.
type cluster struct {
	seeds       []string
	replication int16
}

type scenario struct {
	name string
	run  func(*cluster, context.Context) error
}

func allScenarios() []scenario {
	var all []scenario
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		all = append(all, scenario{"codec-" + codec, func(c *cluster, ctx context.Context) error {
			return c.codec(ctx, codec)
		}})
	}
	return append(all,
		scenario{"idempotent", (*cluster).idempotent},
		scenario{"acks", (*cluster).acks},
		scenario{"offsets-by-time", (*cluster).offsetsByTime},
		scenario{"fetch-without-session", (*cluster).sessionless},
		scenario{"group-eager", (*cluster).groupEager},
		scenario{"group-cooperative", (*cluster).groupCooperative},
		scenario{"group-static", (*cluster).groupStatic},
		scenario{"group-crash", (*cluster).groupCrash},
		scenario{"admin-topics", (*cluster).adminTopics},
		scenario{"admin-configs", (*cluster).adminConfigs},
		scenario{"admin-cluster", (*cluster).adminCluster},
		scenario{"admin-groups", (*cluster).adminGroups},
		scenario{"transaction-transform", (*cluster).transform},
		scenario{"described-configs", (*cluster).describedConfigs},
	)
}

func scenarios(args []string) error {
	replication, err := strconv.ParseInt(args[1], 10, 16)
	if err != nil {
		return err
	}
	c := &cluster{strings.Split(args[0], ","), int16(replication)}
	ran, failed := 0, 0
	for _, s := range allScenarios() {
		if len(args) > 2 && !slices.Contains(args[2:], s.name) {
			continue
		}
		ran++
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		err := s.run(c, ctx)
		cancel()
		if err != nil {
			failed++
			fmt.Printf("FAIL go/%s: %v\n", s.name, err)
			continue
		}
		fmt.Printf("PASS go/%s %d ms\n", s.name, time.Since(start).Milliseconds())
	}
	fmt.Printf("%d passed, %d failed\n", ran-failed, failed)
	if failed > 0 || ran == 0 {
		return errors.New("not every scenario passed")
	}
	return nil
}

var names atomic.Int64

func fresh(what string) string {
	run := strconv.FormatInt(time.Now().UnixMilli(), 36)
	return fmt.Sprintf("go-%s-%s-%d", what, run, names.Add(1))
}

func (c *cluster) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.seeds...),
		kgo.MetadataMinAge(100 * time.Millisecond),
		// One try per look at the metadata: five seconds for a new topic to reach every broker.
		kgo.UnknownTopicRetries(50),
	}, opts...)...)
}

func (c *cluster) admin() (*kadm.Client, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

func (c *cluster) topic(ctx context.Context, what string, partitions int32) (string, error) {
	admin, err := c.admin()
	if err != nil {
		return "", err
	}
	defer admin.Close()
	name := fresh(what)
	_, err = admin.CreateTopic(ctx, partitions, c.replication, nil, name)
	return name, err
}

// read polls until count records came.
func read(ctx context.Context, client *kgo.Client, count int) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("only %d of %d records came", len(records), count)
		}
		for _, e := range fetches.Errors() {
			return nil, fmt.Errorf("fetch of %s-%d: %w", e.Topic, e.Partition, e.Err)
		}
		records = append(records, fetches.Records()...)
	}
	return records, nil
}

// eventually polls a condition; metadata reaches brokers one after the other.
func eventually(ctx context.Context, what string, condition func() (bool, error)) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		holds, err := condition()
		if holds || err != nil && ctx.Err() != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("never happened: %s (last error: %v)", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func expect(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}
