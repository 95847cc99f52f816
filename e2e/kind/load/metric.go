package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// The API group that an autoscaler asks for figures that are not of its own pods.
const metricsAPI = "/apis/external.metrics.k8s.io/v1beta1"

// metric serves Kubernetes' external metrics API over TLS: every metric has the value that
// POST /value/N, over plain HTTP, has said last, and none before.
func metric(ctx context.Context, o options) error {
	certificate, err := selfSigned("metric")
	if err != nil {
		return err
	}
	var value atomic.Pointer[string]
	control := &http.Server{Addr: o.listen, ReadHeaderTimeout: 5 * time.Second}
	control.Handler = valueSetter(&value)
	api := &http.Server{Addr: o.metrics, ReadHeaderTimeout: 5 * time.Second}
	api.Handler = metricsHandler(&value)
	api.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}
	return both(ctx, control, api)
}

func valueSetter(value *atomic.Pointer[string]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /value/{value}", func(w http.ResponseWriter, r *http.Request) {
		said := r.PathValue("value")
		if _, err := strconv.ParseUint(said, 10, 32); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		value.Store(&said)
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func metricsHandler(value *atomic.Pointer[string]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+metricsAPI, func(w http.ResponseWriter, _ *http.Request) {
		// That the group answers is what makes it available; nothing in it can be listed.
		reply(w, map[string]any{
			"kind": "APIResourceList", "apiVersion": "v1",
			"groupVersion": "external.metrics.k8s.io/v1beta1", "resources": []any{},
		})
	})
	named := "GET " + metricsAPI + "/namespaces/{namespace}/{metric}"
	mux.HandleFunc(named, func(w http.ResponseWriter, r *http.Request) {
		items := []any{}
		if now := value.Load(); now != nil {
			items = append(items, map[string]any{
				"metricName": r.PathValue("metric"), "metricLabels": map[string]string{},
				"timestamp": time.Now().UTC().Format(time.RFC3339), "value": *now,
			})
		}
		reply(w, map[string]any{
			"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1",
			"metadata": map[string]any{}, "items": items,
		})
	})
	return mux
}

// selfSigned is enough for who is told to ask for no proof, or for this one.
func selfSigned(host string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("a key: %w", err)
	}
	until := time.Now().Add(24 * time.Hour)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: until, DNSNames: []string{host},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
