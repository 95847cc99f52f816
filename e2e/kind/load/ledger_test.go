package main

import (
	"errors"
	"testing"
	"time"
)

func judged(t *testing.T, acked int, reads [][2]int64) pass {
	t.Helper()
	l := newLedger(1)
	for range acked {
		l.ack(0, l.take(0), time.Now(), nil)
	}
	r := newReading()
	for _, read := range reads {
		r.read(read[0], read[1])
	}
	var sum pass
	sum.add(l.parts[0], &r)
	return sum
}

func TestEachViolationIsCounted(t *testing.T) {
	for name, c := range map[string]struct {
		reads [][2]int64
		want  pass
	}{
		"whole": {[][2]int64{{5, 0}, {6, 1}, {7, 2}}, pass{Read: 3}},
		"redelivered": {[][2]int64{{5, 0}, {6, 1}, {5, 0}, {6, 1}, {7, 2}},
			pass{Read: 3, Redelivered: 2}},
		"lost":       {[][2]int64{{5, 0}, {6, 2}}, pass{Read: 2, Lost: 1}},
		"duplicated": {[][2]int64{{5, 0}, {6, 1}, {7, 1}, {8, 2}}, pass{Read: 4, Duplicated: 1}},
		"reordered":  {[][2]int64{{5, 0}, {6, 2}, {7, 1}}, pass{Read: 3, Reordered: 1}},
		"changed": {[][2]int64{{5, 0}, {6, 1}, {6, 2}},
			pass{Read: 2, Lost: 1, Redelivered: 1, Changed: 1}},
		"foreign": {[][2]int64{{5, 0}, {6, 1}, {7, 2}, {8, -1}}, pass{Read: 3, Foreign: 1}},
	} {
		if got := judged(t, 3, c.reads); got != c.want {
			t.Errorf("%s: %+v, not %+v", name, got, c.want)
		}
	}
}

func TestWhatTheClientGaveUpIsNotMissed(t *testing.T) {
	l := newLedger(1)
	l.ack(0, l.take(0), time.Now(), errors.New("gave up"))
	l.ack(0, l.take(0), time.Now(), nil)
	l.take(0)
	r := newReading()
	r.read(0, 1)
	if p := l.parts[0]; p.missing(&r) != 0 || p.failed != 1 || !p.waiting() {
		t.Errorf("%d missing, %d failed, waiting %v", p.missing(&r), p.failed, p.waiting())
	}
}
