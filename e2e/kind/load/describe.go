package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
)

type partition struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
}

// describeTopic answers what any client is told about a topic's partitions.
func (l *load) describeTopic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("topic")
	metadata, err := kadm.NewClient(l.producer).Metadata(r.Context(), name)
	if err == nil {
		err = metadata.Topics[name].Err
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	partitions := []partition{}
	for _, p := range metadata.Topics[name].Partitions.Sorted() {
		partitions = append(partitions, partition{p.Partition, p.Leader, p.Replicas, p.ISR})
	}
	reply(w, partitions)
}

// describeConfig answers with the value that a broker works with.
func (l *load) describeConfig(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("broker"), 10, 32)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	key := r.PathValue("key")
	admin := kadm.NewClient(l.producer)
	described, err := admin.DescribeBrokerConfigs(r.Context(), int32(id))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	for _, resource := range described {
		for _, config := range resource.Configs {
			if config.Key == key && config.Value != nil {
				reply(w, *config.Value)
				return
			}
		}
	}
	http.Error(w, fmt.Sprintf("broker %d has no %s", id, key), http.StatusNotFound)
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
