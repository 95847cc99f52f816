package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describedConfigs asks for all that there is to know of the configs of a topic and a broker.
func (c *cluster) describedConfigs(ctx context.Context) error {
	topic, err := c.topic(ctx, "described", 1)
	if err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ask := func(kind kmsg.ConfigResourceType, name string, keys []string) (
		[]kmsg.DescribeConfigsResponseResourceConfig, error) {
		request := kmsg.NewPtrDescribeConfigsRequest()
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.ConfigNames = kind, name, keys
		request.Resources = append(request.Resources, resource)
		request.IncludeSynonyms, request.IncludeDocumentation = true, true
		response, err := client.Broker(1).Request(ctx, request)
		if err != nil {
			return nil, err
		}
		described := response.(*kmsg.DescribeConfigsResponse).Resources[0]
		return described.Configs, kerr.ErrorForCode(described.ErrorCode)
	}
	one, err := ask(kmsg.ConfigResourceTypeTopic, topic, []string{"cleanup.policy"})
	if err != nil {
		return err
	}
	if len(one) != 1 || one[0].Name != "cleanup.policy" {
		return fmt.Errorf("asked for one key, got %d", len(one))
	}
	for _, about := range []struct {
		kind kmsg.ConfigResourceType
		name string
	}{{kmsg.ConfigResourceTypeTopic, topic}, {kmsg.ConfigResourceTypeBroker, "1"}} {
		configs, err := ask(about.kind, about.name, nil)
		if err != nil {
			return err
		}
		for _, config := range configs {
			text := config.Documentation
			if config.ConfigType == 0 || text == nil || *text == "" {
				return fmt.Errorf("%s: no type or no documentation", config.Name)
			}
		}
	}
	return nil
}
