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
since=$(date -u +%FT%T)

# One retry: on a busy machine kubeadm's own limits are sometimes too short.
create() {
  local _
  for _ in 1 2; do
    say "making cluster $name"
    make_it && healthy && return
    failed
  done
  return 1
}

make_it() {
  local config=$cache/$name.yaml
  cp "$bed/cluster.yaml" "$config"
  [ "$made" = stock ] || cat "$bed/built.yaml" >> "$config"
  kind create cluster --name "$name" --image "$image" --config "$config" --wait 180s --retain >&2
}

# Keeps what explains it, then makes room for the next.
failed() {
  local logs=$cache/failed-$name
  rm -rf "$logs"
  # Nodes that are built here have no journal, which is complained about; their /var/log is kept.
  timeout 120 kind export logs --name "$name" "$logs" > /dev/null 2>&1 || true
  say "cluster $name did not become healthy; its logs are in $logs"
  kind delete cluster --name "$name" > /dev/null 2>&1 || true
}

# A cluster whose nodes were stopped is started; one that was only half made is made again.
running() {
  local nodes
  mapfile -t nodes < <(docker ps -aq --filter "label=io.x-k8s.kind.cluster=$name")
  [ ${#nodes[@]} = 4 ] || return
  docker start "${nodes[@]}" > /dev/null || return
  kind export kubeconfig --name "$name" > /dev/null 2>&1 || return
  answers 60 kubectl --request-timeout=5s get --raw /readyz || return
  # Where a node can follow its new address, it has done so within this time.
  answers 30 addresses_hold || { say "nodes have other addresses than before"; return 1; }
  healthy
}

# Containers that are started again may get each other's addresses, and what was written down with
# the old ones, such as etcd's and the routes to pods, leads to the wrong node then.
addresses_hold() {
  local node address now count=0
  while read -r node address; do
    now=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \
      "$node") && [ "$now" = "$address" ] || return
    count=$((count + 1))
  done < <(of_nodes '{.status.addresses[?(@.type=="InternalIP")].address}')
  [ "$count" = 4 ]
}

# Whether the cluster is whole and works, within some minutes.
healthy() {
  local deployment
  if [ "$made" = built ]; then
    # There is no name server outside to ask.
    kubectl apply --server-side --force-conflicts -f "$bed/names.yaml" > /dev/null || return
  fi
  answers 180 nodes_ready || { say "not all four nodes are ready"; return 1; }
  for deployment in kube-system/coredns local-path-storage/local-path-provisioner; do
    kubectl -n "${deployment%/*}" rollout status "deploy/${deployment#*/}" --timeout=180s \
      > /dev/null || return
  done
}

# A node without power is listed as ready for another 40 s, so each must also have renewed its lease
# since this began.
nodes_ready() {
  local ready renewed
  ready=$(of_nodes '{.status.conditions[?(@.type=="Ready")].status}' | grep -c ' True$')
  renewed=$(kubectl --request-timeout=5s --namespace kube-node-lease get leases \
    -o 'jsonpath={range .items[*]}{.spec.renewTime}{"\n"}{end}' \
    | awk -v since="$since" '$1 > since' | wc -l)
  [ "$ready" = 4 ] && [ "$renewed" = 4 ]
}

# A line for each node: its name and a field of it.
of_nodes() {
  kubectl --request-timeout=5s get nodes \
    -o "jsonpath={range .items[*]}{.metadata.name} $1{'\n'}{end}"
}

# All containers together weigh as much in the kernel's eyes as one busy thread outside of them, so
# that a compiler starves brokers. More, where this machine lets us.
weigh() {
  local file
  for file in /sys/fs/cgroup/cpu/docker/cpu.shares:8192 /sys/fs/cgroup/docker/cpu.weight:800; do
    [ ! -e "${file%:*}" ] || { echo "${file#*:}" > "${file%:*}"; } 2> /dev/null || true
  done
}

if ! running; then
  kind delete cluster --name "$name" > /dev/null 2>&1 || true
  create
fi
weigh
say "cluster $name is up ($made nodes)"
echo "$KUBECONFIG"
