package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestAMetricHasTheValueThatWasSaid(t *testing.T) {
	var value atomic.Pointer[string]
	setter := httptest.NewServer(valueSetter(&value))
	defer setter.Close()
	api := httptest.NewServer(metricsHandler(&value))
	defer api.Close()
	read := func() string {
		response, err := http.Get(api.URL + metricsAPI + "/namespaces/castle/load")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := read(); !strings.Contains(text, `"items":[]`) {
		t.Fatalf("a value before any was said: %s", text)
	}
	for path, want := range map[string]int{"/value/4": 202, "/value/four": 400} {
		response, err := http.Post(setter.URL+path, "", nil)
		if err != nil || response.StatusCode != want {
			t.Fatalf("%s: %v, %v", path, response, err)
		}
		response.Body.Close()
	}
	if text := read(); !strings.Contains(text, `"metricName":"load"`) ||
		!strings.Contains(text, `"value":"4"`) {
		t.Fatal(text)
	}
}

func TestACertificateIsMade(t *testing.T) {
	if made, err := selfSigned("host"); err != nil || len(made.Certificate) != 1 {
		t.Fatal(err)
	}
}
