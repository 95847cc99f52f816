package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// ledger knows of every partition which numbers were sent, acknowledged and read. Numbers count up
// from zero in each partition, so order, loss and duplication are visible in them.
type ledger struct {
	sync.Mutex
	parts []*part
}

type part struct {
	next     int64  // the next number to send
	acked    []bool // by number
	ackCount int64
	failed   int64 // given up by the client: may or may not be in the log
	lastAck  time.Time
	gap      time.Duration // the longest between two acknowledgements
	gapAt    time.Time     // when it ended
	waits    []float64     // milliseconds from send to acknowledgement
	reads    reading
}

// reading is one pass over a partition's log.
type reading struct {
	from       int64   // offset of the first record
	numbers    []int64 // what was read, from there
	seen       []bool  // by number
	highest    int64
	again      int64 // offsets that were delivered more than once, which a group may do
	changed    int64 // offsets that were delivered again with something else, which nothing may do
	duplicated int64
	reordered  int64
	foreign    int64
}

func newLedger(partitions int) *ledger {
	l := &ledger{}
	for range partitions {
		l.parts = append(l.parts, &part{reads: newReading()})
	}
	return l
}

func newReading() reading {
	return reading{from: -1, highest: -1}
}

// take hands out the next number of a partition.
func (l *ledger) take(partition int32) int64 {
	l.Lock()
	defer l.Unlock()
	p := l.parts[partition]
	p.next++
	p.acked = append(p.acked, false)
	return p.next - 1
}

func (l *ledger) ack(partition int32, number int64, sent time.Time, err error) {
	l.Lock()
	defer l.Unlock()
	p, now := l.parts[partition], time.Now()
	if err != nil {
		p.failed++
		return
	}
	p.acked[number] = true
	p.ackCount++
	p.waits = append(p.waits, float64(now.Sub(sent).Microseconds())/1000)
	if !p.lastAck.IsZero() && now.Sub(p.lastAck) > p.gap {
		p.gap, p.gapAt = now.Sub(p.lastAck), now
	}
	p.lastAck = now
}

// waiting is whether something sent is neither acknowledged nor given up.
func (p *part) waiting() bool {
	return p.ackCount+p.failed < p.next
}

func (r *reading) read(offset, number int64) {
	if number < 0 {
		r.foreign++
		return
	}
	if r.from < 0 {
		r.from = offset
	}
	at := offset - r.from
	if at >= 0 && at < int64(len(r.numbers)) && r.numbers[at] >= 0 {
		r.again++
		if r.numbers[at] != number {
			r.changed++
		}
		return
	}
	if at < 0 {
		r.reordered++
		return
	}
	for int64(len(r.numbers)) <= at {
		r.numbers = append(r.numbers, -1)
	}
	r.numbers[at] = number
	for int64(len(r.seen)) <= number {
		r.seen = append(r.seen, false)
	}
	switch {
	case r.seen[number]:
		r.duplicated++
	case number < r.highest:
		r.reordered++
	}
	r.seen[number] = true
	r.highest = max(r.highest, number)
}

func (r *reading) has(number int64) bool {
	return number < int64(len(r.seen)) && r.seen[number]
}

// missing are the acknowledged numbers that a pass has not read.
func (p *part) missing(r *reading) int64 {
	var count int64
	for number, acked := range p.acked {
		if acked && !r.has(int64(number)) {
			count++
		}
	}
	return count
}

// pass sums up one reading of all partitions.
type pass struct {
	Read        int64 `json:"read"`
	Lost        int64 `json:"lost"`
	Duplicated  int64 `json:"duplicated"`
	Reordered   int64 `json:"reordered"`
	Changed     int64 `json:"changed"`
	Redelivered int64 `json:"redelivered"`
	Foreign     int64 `json:"foreign"`
}

func (s *pass) add(p *part, r *reading) {
	for _, number := range r.numbers {
		if number >= 0 {
			s.Read++
		}
	}
	s.Lost += p.missing(r)
	s.Duplicated += r.duplicated
	s.Reordered += r.reordered
	s.Changed += r.changed
	s.Redelivered += r.again
	s.Foreign += r.foreign
}

func (s *pass) broken(who string) error {
	if s.Lost+s.Duplicated+s.Reordered+s.Changed > 0 {
		return fmt.Errorf("%s: %d lost, %d duplicated, %d reordered, %d changed",
			who, s.Lost, s.Duplicated, s.Reordered, s.Changed)
	}
	return nil
}

// quantile of milliseconds; the values are sorted by it.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
