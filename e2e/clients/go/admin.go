package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func sorted(values []int32) []int32 {
	slices.Sort(values)
	return values
}

func (c *cluster) adminTopics(ctx context.Context) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	name := fresh("admin")
	hour := "3600000"
	created, err := admin.CreateTopic(ctx, 3, c.replication,
		map[string]*string{"retention.ms": &hour}, name)
	if err != nil {
		return err
	}
	_, err = admin.CreateTopic(ctx, 1, c.replication, nil, name)
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("second create: %v", err)
	}
	var detail kadm.TopicDetail
	err = eventually(ctx, "a description of the topic", func() (bool, error) {
		listed, err := admin.ListTopics(ctx, name)
		if err != nil {
			return false, err
		}
		detail = listed[name]
		return detail.Err == nil, detail.Err
	})
	if err != nil {
		return err
	}
	if detail.ID != created.ID || len(detail.Partitions) != 3 {
		return fmt.Errorf("described: %v", detail)
	}
	for _, p := range detail.Partitions {
		if p.Leader < 0 || len(p.Replicas) != int(c.replication) {
			return fmt.Errorf("partition: %v", p)
		}
	}
	grown, err := admin.CreatePartitions(ctx, 2, name)
	if err != nil || grown[name].Err != nil {
		return fmt.Errorf("create partitions: %v %v", err, grown[name].Err)
	}
	err = eventually(ctx, "five partitions", func() (bool, error) {
		listed, err := admin.ListTopics(ctx, name)
		return len(listed[name].Partitions) == 5, err
	})
	if err != nil {
		return err
	}
	if _, err := admin.DeleteTopic(ctx, name); err != nil {
		return err
	}
	return eventually(ctx, "the topic is gone", func() (bool, error) {
		listed, err := admin.ListTopics(ctx)
		return !listed.Has(name), err
	})
}

func (c *cluster) adminConfigs(ctx context.Context) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	name, err := c.topic(ctx, "configs", 1)
	if err != nil {
		return err
	}
	minute := "60000"
	altered, err := admin.AlterTopicConfigs(ctx,
		[]kadm.AlterConfig{{Name: "retention.ms", Value: &minute}}, name)
	if err != nil {
		return err
	}
	if altered[0].Err != nil {
		return altered[0].Err
	}
	err = eventually(ctx, "the new retention", func() (bool, error) {
		described, err := admin.DescribeTopicConfigs(ctx, name)
		if err != nil {
			return false, err
		}
		i := slices.IndexFunc(described[0].Configs, func(c kadm.Config) bool {
			return c.Key == "retention.ms"
		})
		return i >= 0 && described[0].Configs[i].MaybeValue() == minute, nil
	})
	if err != nil {
		return err
	}
	bad := "soon"
	altered, err = admin.AlterTopicConfigs(ctx,
		[]kadm.AlterConfig{{Name: "retention.ms", Value: &bad}}, name)
	if err != nil {
		return err
	}
	return expect(errors.Is(altered[0].Err, kerr.InvalidConfig), "bad value: %v", altered[0].Err)
}

func (c *cluster) adminCluster(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	metadata, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	if metadata.Cluster == "" || len(metadata.Brokers) < int(c.replication) {
		return fmt.Errorf("cluster: %v", metadata)
	}
	described := kmsg.NewPtrDescribeClusterRequest()
	response, err := described.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if response.ClusterID != metadata.Cluster || len(response.Brokers) != len(metadata.Brokers) {
		return fmt.Errorf("described cluster: %v", response)
	}
	versions, err := admin.ApiVersions(ctx)
	if err != nil {
		return err
	}
	if len(versions) != len(metadata.Brokers) {
		return fmt.Errorf("%d answers to ApiVersions", len(versions))
	}
	quorum := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	quorum.Topics = append(quorum.Topics, topic)
	state, err := quorum.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(state.ErrorCode); err != nil {
		return err
	}
	return expect(len(state.Topics) == 1 && state.Topics[0].Partitions[0].LeaderID >= 0,
		"quorum: %v", state)
}

func (c *cluster) adminGroups(ctx context.Context) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	topic, err := c.topic(ctx, "groups", groupPartitions)
	if err != nil {
		return err
	}
	group := fresh("groups")
	m, err := c.member(topic, group)
	if err != nil {
		return err
	}
	if err := settled(ctx, 6, m); err != nil {
		m.leave()
		return err
	}
	described, err := admin.DescribeGroups(ctx, group)
	m.leave()
	if err != nil {
		return err
	}
	if g := described[group]; g.State != "Stable" || len(g.Members) != 1 {
		return fmt.Errorf("described: %v", g)
	}
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return err
	}
	if _, ok := listed[group]; !ok {
		return fmt.Errorf("%s is not listed", group)
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 42, -1)
	if err := admin.CommitAllOffsets(ctx, group, offsets); err != nil {
		return err
	}
	fetched, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	if at, _ := fetched.Lookup(topic, 0); at.At != 42 {
		return fmt.Errorf("committed offset %v", at)
	}
	deleted, err := admin.DeleteGroups(ctx, group)
	if err != nil {
		return err
	}
	return deleted[group].Err
}
