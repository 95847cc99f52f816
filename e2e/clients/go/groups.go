package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const groupPartitions = 6

// member polls in the background and knows what it owns.
type member struct {
	client *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	owned    map[int32]bool
	assigned int
	seen     map[string]bool
}

func (c *cluster) member(topic, group string, opts ...kgo.Opt) (*member, error) {
	m := &member{owned: map[int32]bool{}, seen: map[string]bool{}, done: make(chan struct{})}
	take := func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.assigned++
		for _, partition := range p[topic] {
			m.owned[partition] = true
		}
	}
	give := func(_ context.Context, _ *kgo.Client, p map[string][]int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, partition := range p[topic] {
			delete(m.owned, partition)
		}
	}
	client, err := c.client(append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.AutoCommitInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(take),
		kgo.OnPartitionsRevoked(give),
		kgo.OnPartitionsLost(give),
	}, opts...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.client, m.cancel = client, cancel
	go m.poll(ctx)
	return m, nil
}

func (m *member) poll(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		fetches := m.client.PollFetches(ctx)
		m.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) { m.seen[string(r.Value)] = true })
		m.mu.Unlock()
	}
}

func (m *member) owns() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var owned []int32
	for p := range m.owned {
		owned = append(owned, p)
	}
	return owned
}

// leave says goodbye to the group; for a static member the broker keeps its place.
func (m *member) leave() {
	m.cancel()
	<-m.done
	m.client.Close()
}

func settled(ctx context.Context, most int, members ...*member) error {
	what := fmt.Sprintf("an even assignment over %d members", len(members))
	return eventually(ctx, what, func() (bool, error) {
		seen, total := map[int32]bool{}, 0
		for _, m := range members {
			owned := m.owns()
			if len(owned) > most {
				return false, nil
			}
			total += len(owned)
			for _, p := range owned {
				seen[p] = true
			}
		}
		return total == groupPartitions && len(seen) == groupPartitions, nil
	})
}

func (c *cluster) joinAndLeave(ctx context.Context, balancer kgo.GroupBalancer) error {
	topic, err := c.topic(ctx, "group", groupPartitions)
	if err != nil {
		return err
	}
	group := fresh("group")
	var members []*member
	for _, most := range []int{6, 3, 2} {
		m, err := c.member(topic, group, kgo.Balancers(balancer))
		if err != nil {
			return err
		}
		defer m.leave()
		members = append(members, m)
		if err := settled(ctx, most, members...); err != nil {
			return err
		}
	}
	if err := c.send(ctx, topic, 120); err != nil {
		return err
	}
	err = eventually(ctx, "every record came once", func() (bool, error) {
		total := 0
		for _, m := range members {
			m.mu.Lock()
			total += len(m.seen)
			m.mu.Unlock()
		}
		return total == 120, nil
	})
	if err != nil {
		return err
	}
	members[2].leave()
	if err := settled(ctx, 3, members[:2]...); err != nil {
		return err
	}
	members[0].leave()
	return settled(ctx, 6, members[1])
}

func (c *cluster) send(ctx context.Context, topic string, count int) error {
	producer, err := c.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return err
	}
	defer producer.Close()
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%d", i)})
	}
	return producer.ProduceSync(ctx, records...).FirstErr()
}

func (c *cluster) groupEager(ctx context.Context) error {
	return c.joinAndLeave(ctx, kgo.RangeBalancer())
}

func (c *cluster) groupCooperative(ctx context.Context) error {
	return c.joinAndLeave(ctx, kgo.CooperativeStickyBalancer())
}

// groupStatic restarts a static member: same partitions, and no rebalance for the other one.
func (c *cluster) groupStatic(ctx context.Context) error {
	topic, err := c.topic(ctx, "static", groupPartitions)
	if err != nil {
		return err
	}
	group := fresh("static")
	eager := kgo.Balancers(kgo.RangeBalancer())
	a, err := c.member(topic, group, kgo.InstanceID("a"), eager)
	if err != nil {
		return err
	}
	defer a.leave()
	b, err := c.member(topic, group, kgo.InstanceID("b"), eager)
	if err != nil {
		return err
	}
	if err := settled(ctx, 3, a, b); err != nil {
		b.leave()
		return err
	}
	before := fmt.Sprint(sorted(b.owns()))
	b.leave()
	a.mu.Lock()
	rebalances := a.assigned
	a.mu.Unlock()
	again, err := c.member(topic, group, kgo.InstanceID("b"), eager)
	if err != nil {
		return err
	}
	defer again.leave()
	if err := settled(ctx, 3, a, again); err != nil {
		return err
	}
	if after := fmt.Sprint(sorted(again.owns())); after != before {
		return fmt.Errorf("owned %s, after the return %s", before, after)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return expect(a.assigned == rebalances, "the other member saw a rebalance")
}

// groupCrash kills a member's process; its partitions come back when its session ends.
func (c *cluster) groupCrash(ctx context.Context) error {
	topic, err := c.topic(ctx, "crash", groupPartitions)
	if err != nil {
		return err
	}
	group := fresh("crash")
	one, err := c.member(topic, group)
	if err != nil {
		return err
	}
	defer one.leave()
	if err := settled(ctx, 6, one); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	victim := exec.CommandContext(limit, os.Args[0],
		"member", strings.Join(c.seeds, ","), topic, group)
	output, err := victim.StdoutPipe()
	if err != nil {
		return err
	}
	if err := victim.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() && lines.Text() != "3" {
	}
	last := lines.Text()
	_ = victim.Process.Kill()
	_ = victim.Wait()
	if last != "3" {
		return fmt.Errorf("the process to be killed never owned 3 partitions, but %q", last)
	}
	return settled(ctx, 6, one)
}

func memberProcess(args []string) error {
	c := &cluster{seeds: strings.Split(args[0], ",")}
	m, err := c.member(args[1], args[2])
	if err != nil {
		return err
	}
	for {
		fmt.Println(len(m.owns()))
		time.Sleep(100 * time.Millisecond)
	}
}
