package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAReviewIsAnsweredWithThePolicy(t *testing.T) {
	asked := strings.NewReader(`{"kind": "AdmissionReview", "request": {"uid": "u-1"}}`)
	answer := httptest.NewRecorder()
	mutate(answer, httptest.NewRequest("POST", "/", asked))
	var told struct {
		Response struct {
			UID       string
			Allowed   bool
			PatchType string
			Patch     string
		}
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &told); err != nil {
		t.Fatal(err)
	}
	patch, err := base64.StdEncoding.DecodeString(told.Response.Patch)
	if err != nil || string(patch) != policy || !json.Valid(patch) {
		t.Fatalf("%s: %v", patch, err)
	}
	if told.Response.UID != "u-1" || !told.Response.Allowed || told.Response.PatchType != "JSONPatch" {
		t.Fatalf("%+v", told)
	}
}
