// Command load is what every scenario on kind runs under: a producer that never stops, a group that
// reads along, and a judge of what was acknowledged. The Kafka client is franz-go as it is.
//
//	load run  --bootstrap HOST:PORT --topic TOPIC     until POST /stop, then serves its verdict
//	load once --bootstrap HOST:PORT --topic TOPIC     some records there and back, then exits
//	load metric                                       figures for an autoscaler (metric.go)
//	load webhook --name HOST                          a policy that changes objects (webhook.go)
//
// While it runs, GET /report answers with the counts so far, and GET /topics/TOPIC and
// GET /brokers/ID/config/KEY with what the cluster says of itself. After POST /stop it flushes,
// lets the group read to the end, reads the whole log once more from its start, and the report's
// state turns from "draining" to "done".
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	bootstrap  string
	topic      string
	group      string
	listen     string
	metrics    string
	name       string
	partitions int
	rate       int
	count      int
	drain      time.Duration
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: load run|once|metric|webhook --bootstrap HOST:PORT --topic TOPIC"))
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.bootstrap, "bootstrap", "", "first brokers, separated by commas")
	flags.StringVar(&o.topic, "topic", "", "an existing topic, or one that will exist soon")
	flags.StringVar(&o.group, "group", "load", "consumer group")
	flags.StringVar(&o.listen, "listen", ":8080", "address of the report")
	flags.StringVar(&o.metrics, "metrics", ":8443", "address of the API of `metric` and `webhook`")
	flags.StringVar(&o.name, "name", "", "host that `webhook` is asked as")
	flags.IntVar(&o.partitions, "partitions", 3, "partitions to write to, from the first")
	flags.IntVar(&o.rate, "rate", 150, "records per second")
	flags.IntVar(&o.count, "count", 300, "records of `once`")
	flags.DurationVar(&o.drain, "drain", 2*time.Minute, "longest time from stop to the verdict")
	if err := flags.Parse(os.Args[2:]); err != nil {
		fail(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	switch os.Args[1] {
	case "run":
		fail(run(ctx, o))
	case "once":
		fail(once(ctx, o))
	case "metric":
		fail(metric(ctx, o))
	case "webhook":
		fail(webhook(ctx, o))
	default:
		fail(fmt.Errorf("no such command: %s", os.Args[1]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves the report until it is told to end; the verdict stays readable after the stop.
func run(ctx context.Context, o options) error {
	l, err := newLoad(o)
	if err != nil {
		return err
	}
	defer l.close()
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, l.report())
	})
	http.HandleFunc("GET /topics/{topic}", l.describeTopic)
	http.HandleFunc("GET /brokers/{broker}/config/{key}", l.describeConfig)
	http.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		l.stopProducing()
		w.WriteHeader(http.StatusAccepted)
	})
	server := &http.Server{Addr: o.listen, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	go l.work(ctx)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// once is the smallest proof that an address works: it prints the verdict and fails with it.
func once(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, o.drain)
	defer cancel()
	o.group = fmt.Sprintf("once-%d", time.Now().UnixNano())
	l, err := newLoad(o)
	if err != nil {
		return err
	}
	defer l.close()
	l.fresh = true
	go func() {
		l.sent(ctx, o.count)
		l.stopProducing()
	}()
	l.work(ctx)
	report := l.report()
	encoded, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(encoded))
	return report.broken()
}
