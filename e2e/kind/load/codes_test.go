package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const notEnoughReplicas = 19

// refused is an answer to a produce request with an error for its one partition.
func refused(version int16) *kmsg.ProduceResponse {
	partition := kmsg.NewProduceResponseTopicPartition()
	partition.ErrorCode = notEnoughReplicas
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic, topic.Partitions = "orders", append(topic.Partitions, partition)
	response := kmsg.NewPtrProduceResponse()
	response.Topics = append(response.Topics, topic)
	response.SetVersion(version)
	return response
}

// frame is a response as a broker sends it; tags are what its header ends with.
func frame(correlation uint32, tags []byte, body []byte) []byte {
	inner := binary.BigEndian.AppendUint32(nil, correlation)
	inner = append(append(inner, tags...), body...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(inner))), inner...)
}

func question7(api, version int16) *tap {
	return &tap{asked: map[int32]question{7: {api, version}}}
}

func TestEveryAnswerIsCountedOrCalledUnparsed(t *testing.T) {
	flexible, rigid := refused(9).AppendTo(nil), refused(8).AppendTo(nil)
	short := map[string]int64{"Produce NOT_ENOUGH_REPLICAS": 1}
	none := map[string]int64{}
	for name, c := range map[string]struct {
		asked    *tap
		bytes    []byte
		counts   map[string]int64
		answers  int64
		unparsed int64
	}{
		"without tags":    {question7(0, 8), frame(7, nil, rigid), short, 1, 0},
		"with no tag":     {question7(0, 9), frame(7, []byte{0}, flexible), short, 1, 0},
		"with a tag":      {question7(0, 9), frame(7, []byte{1, 5, 2, 8, 8}, flexible), short, 1, 0},
		"tags that lie":   {question7(0, 9), frame(7, []byte{1, 5, 0xff, 0x7f}, flexible), none, 0, 1},
		"a cut body":      {question7(0, 8), frame(7, nil, rigid[:len(rigid)-6]), none, 0, 1},
		"nobody asked":    {question7(0, 8), frame(8, nil, rigid), none, 0, 1},
		"no size":         {question7(0, 8), []byte{0xff, 0xff, 0xff, 0xff, 1}, none, 0, 1},
		"a cut frame":     {question7(0, 8), frame(7, nil, rigid)[:9], none, 0, 0},
		"refused version": {question7(18, 4), frame(7, nil, []byte{0, 35, 0, 0, 0, 0}), none, 0, 0},
	} {
		codes := newCodes()
		codes.listen(c.asked, bytes.NewReader(c.bytes))
		counts, answers, unparsed := codes.snapshot()
		if !maps.Equal(counts, c.counts) || answers != c.answers || unparsed != c.unparsed {
			t.Errorf("%s: %v of %d answers, %d unparsed", name, counts, answers, unparsed)
		}
	}
}

// serve answers one request on a connection with a refusal.
func serve(t *testing.T, listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	head := make([]byte, 12)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Error(err)
		return
	}
	rest := int64(binary.BigEndian.Uint32(head)) - 8
	if _, err := io.CopyN(io.Discard, conn, rest); err != nil {
		t.Error(err)
		return
	}
	version := int16(binary.BigEndian.Uint16(head[6:]))
	answer := frame(binary.BigEndian.Uint32(head[8:]), []byte{0}, refused(version).AppendTo(nil))
	if _, err := conn.Write(answer); err != nil {
		t.Error(err)
	}
}

func TestARefusalIsSeenOnTheClientsConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go serve(t, listener)
	codes := newCodes()
	conn, err := codes.dial(context.Background(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request := kmsg.NewPtrProduceRequest()
	request.SetVersion(9)
	asked := kmsg.NewRequestFormatter().AppendRequest(nil, request, 3)
	if _, err := conn.Write(asked); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Fatal(err)
	}
	// The copy is handed over by then; it is looked into a moment later.
	for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(time.Millisecond) {
		counts, answers, unparsed := codes.snapshot()
		if answers == 1 && unparsed == 0 && counts["Produce NOT_ENOUGH_REPLICAS"] == 1 {
			return
		}
	}
	counts, answers, unparsed := codes.snapshot()
	t.Errorf("%v of %d answers, %d unparsed", counts, answers, unparsed)
}
