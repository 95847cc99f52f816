#!/bin/bash
# Deletes the kind cluster NAME (default: dev). The engine and the node image stay.
# Usage: down.sh [NAME]
set -euo pipefail
source "$(dirname "$0")/lib.sh"
name=${1:-dev}
exclusively
docker version > /dev/null 2>&1 || { say "no docker engine runs, so no cluster does"; exit 0; }
KUBECONFIG=$cache/$name.kubeconfig kind delete cluster --name "$name"
rm -f "$cache/$name.kubeconfig" "$cache/$name.yaml"
