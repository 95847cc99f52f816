#!/bin/bash
# Creates the kind cluster NAME (default: dev; one control plane, three workers in three zones) or
# finds it there, and waits until pods, names and volumes work. Resumable: what is done is not done
# again. Prints the path of its kubeconfig on the last line.
# Usage: up.sh [NAME]
set -euo pipefail
source "$(dirname "$0")/lib.sh"
name=${1:-dev}
export KUBECONFIG=$cache/$name.kubeconfig

exclusively
engine
tools
read -r image made < <("$bed/node.sh")

create() {
  local config=$cache/$name.yaml
  cp "$bed/cluster.yaml" "$config"
  [ "$made" = stock ] || cat "$bed/built.yaml" >> "$config"
  kind create cluster --name "$name" --image "$image" --config "$config" --wait 180s >&2
}

# A cluster whose nodes were stopped is started; one that was only half made is made again.
running() {
  local nodes
  mapfile -t nodes < <(docker ps -aq --filter "label=io.x-k8s.kind.cluster=$name")
  [ ${#nodes[@]} = 4 ] || return
  docker start "${nodes[@]}" > /dev/null
  kind export kubeconfig --name "$name" > /dev/null 2>&1 || return
  answers 60 kubectl get --raw /readyz
}

if ! running; then
  kind delete cluster --name "$name" > /dev/null 2>&1 || true
  create
fi
if [ "$made" = built ]; then
  # There is no name server outside to ask.
  kubectl apply --server-side --force-conflicts -f "$bed/names.yaml" > /dev/null
fi
kubectl wait --for=condition=Ready nodes --all --timeout=180s > /dev/null
for deployment in kube-system/coredns local-path-storage/local-path-provisioner; do
  kubectl -n "${deployment%/*}" rollout status "deploy/${deployment#*/}" --timeout=180s > /dev/null
done
say "cluster $name is up ($made nodes)"
echo "$KUBECONFIG"
