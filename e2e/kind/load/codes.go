package main

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const frameMax = 64 << 20

// codes counts the error codes that brokers answer with. The client retries most of them without a
// word, so they are read where nothing is hidden: from a copy of the bytes on its connections. How
// many answers were read, and how many could not be, says whether the counts mean anything.
type codes struct {
	sync.Mutex
	counts   map[string]int64
	answers  int64
	unparsed int64
}

func newCodes() *codes {
	return &codes{counts: map[string]int64{}}
}

// snapshot is the counts, the answers that they are of, and the answers that they lack.
func (c *codes) snapshot() (counts map[string]int64, answers, unparsed int64) {
	c.Lock()
	defer c.Unlock()
	return maps.Clone(c.counts), c.answers, c.unparsed
}

// seen counts one answer of a kind whose codes matter, or one that may have been such.
func (c *codes) seen(parsed bool) {
	c.Lock()
	defer c.Unlock()
	if parsed {
		c.answers++
	} else {
		c.unparsed++
	}
}

func (c *codes) add(api string, code int16) {
	if code == 0 {
		return
	}
	name := "UNKNOWN"
	if known := kerr.TypedErrorForCode(code); known != nil {
		name = known.Message
	}
	c.Lock()
	defer c.Unlock()
	c.counts[api+" "+name]++
}

func (c *codes) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	reader, writer := io.Pipe()
	t := &tap{Conn: conn, copy: writer, asked: map[int32]question{}}
	go func() {
		defer reader.Close() // from here on the copy is written to nobody
		c.listen(t, reader)
	}()
	return t, nil
}

type question struct{ api, version int16 }

// tap is a connection that remembers what was asked and copies what is answered.
type tap struct {
	net.Conn
	copy  *io.PipeWriter
	mu    sync.Mutex
	asked map[int32]question
}

// Write relies on the client's writing a request as a whole: the answer to one that it does not see
// counts as unparsed.
func (t *tap) Write(b []byte) (int, error) {
	if len(b) >= 12 {
		q := question{int16(binary.BigEndian.Uint16(b[4:])), int16(binary.BigEndian.Uint16(b[6:]))}
		t.mu.Lock()
		t.asked[int32(binary.BigEndian.Uint32(b[8:]))] = q
		t.mu.Unlock()
	}
	return t.Conn.Write(b)
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	if n > 0 {
		_, _ = t.copy.Write(b[:n]) // fails when nobody listens any more, which is fine
	}
	return n, err
}

func (t *tap) Close() error {
	_ = t.copy.Close()
	return t.Conn.Close()
}

// listen cuts the copy into answers until the connection ends or makes no sense. An answer that the
// connection's end cuts off is one that the client has not had either.
func (c *codes) listen(t *tap, r io.Reader) {
	var size [4]byte
	for {
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		length := binary.BigEndian.Uint32(size[:])
		if length < 4 || length > frameMax {
			c.seen(false)
			return
		}
		frame := make([]byte, length)
		if _, err := io.ReadFull(r, frame); err != nil {
			return
		}
		correlation := int32(binary.BigEndian.Uint32(frame))
		t.mu.Lock()
		q, asked := t.asked[correlation]
		delete(t.asked, correlation)
		t.mu.Unlock()
		if asked {
			c.answer(q, frame[4:])
		} else {
			c.seen(false)
		}
	}
}

// answer reads the kinds whose codes matter. Others are left alone: what is not looked into cannot
// fail to be understood, such as the answer to a first ApiVersions that asks for too much.
func (c *codes) answer(q question, body []byte) {
	switch kmsg.Key(q.api) {
	case kmsg.Produce, kmsg.Fetch, kmsg.OffsetCommit, kmsg.Heartbeat, kmsg.JoinGroup,
		kmsg.SyncGroup, kmsg.InitProducerID:
	default:
		return
	}
	response := kmsg.ResponseForKey(q.api)
	response.SetVersion(q.version)
	if response.IsFlexible() {
		reader := kbin.Reader{Src: body}
		kmsg.SkipTags(&reader)
		if reader.Complete() != nil {
			c.seen(false)
			return
		}
		body = reader.Src
	}
	if response.ReadFrom(body) != nil {
		c.seen(false)
		return
	}
	c.seen(true)
	c.count(response)
}

func (c *codes) count(response kmsg.Response) {
	switch r := response.(type) {
	case *kmsg.ProduceResponse:
		for _, topic := range r.Topics {
			for _, partition := range topic.Partitions {
				c.add("Produce", partition.ErrorCode)
			}
		}
	case *kmsg.FetchResponse:
		c.add("Fetch", r.ErrorCode)
		for _, topic := range r.Topics {
			for _, partition := range topic.Partitions {
				c.add("Fetch", partition.ErrorCode)
			}
		}
	case *kmsg.OffsetCommitResponse:
		for _, topic := range r.Topics {
			for _, partition := range topic.Partitions {
				c.add("OffsetCommit", partition.ErrorCode)
			}
		}
	case *kmsg.HeartbeatResponse:
		c.add("Heartbeat", r.ErrorCode)
	case *kmsg.JoinGroupResponse:
		c.add("JoinGroup", r.ErrorCode)
	case *kmsg.SyncGroupResponse:
		c.add("SyncGroup", r.ErrorCode)
	case *kmsg.InitProducerIDResponse:
		c.add("InitProducerId", r.ErrorCode)
	}
}
