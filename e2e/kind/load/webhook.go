package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"time"
)

// A policy as many clusters have them: whoever makes StatefulSets, this is what their pods get. The
// operator asks for another value.
const policy = `[{"op": "replace", "path": "/spec/template/spec/terminationGracePeriodSeconds", ` +
	`"value": 47}]`

// review is what Kubernetes asks, as far as it is read here.
type review struct {
	Request struct {
		UID string `json:"uid"`
	} `json:"request"`
}

// webhook answers Kubernetes over TLS, as the host NAME, and GET /ca, over plain HTTP, with the
// certificate that proves it.
func webhook(ctx context.Context, o options) error {
	certificate, err := selfSigned(o.name)
	if err != nil {
		return err
	}
	block := &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}
	control := &http.Server{Addr: o.listen, ReadHeaderTimeout: 5 * time.Second}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ca", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(pem.EncodeToMemory(block))
	})
	control.Handler = mux
	api := &http.Server{Addr: o.metrics, ReadHeaderTimeout: 5 * time.Second}
	api.Handler = http.HandlerFunc(mutate)
	api.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
	}
	return both(ctx, control, api)
}

// both runs a plain server and one over TLS.
func both(ctx context.Context, plain, secure *http.Server) error {
	failed := make(chan error, 2)
	go func() { failed <- plain.ListenAndServe() }()
	go func() { failed <- secure.ListenAndServeTLS("", "") }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func mutate(w http.ResponseWriter, r *http.Request) {
	var asked review
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(w, fmt.Sprintf("no review: %v", err), http.StatusBadRequest)
		return
	}
	reply(w, map[string]any{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"response": map[string]any{
			"uid": asked.Request.UID, "allowed": true,
			"patchType": "JSONPatch", "patch": []byte(policy),
		},
	})
}
