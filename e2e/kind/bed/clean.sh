#!/bin/bash
# Takes away what earlier scenarios left in the kind cluster NAME (default: dev): cordons, addresses
# of load balancers, cut links, disks, and the namespaces of runs that were interrupted or kept to be
# looked at.
# Usage: clean.sh [NAME]
set -euo pipefail
source "$(dirname "$0")/lib.sh"
name=${1:-dev}
export KUBECONFIG=$cache/$name.kubeconfig

# An API server that was stopped goes on.
of_node='
kill -CONT $(pidof kube-apiserver)
for chain in INPUT OUTPUT FORWARD; do iptables -w -D $chain -j SCENARIO; done
iptables -w -F SCENARIO && iptables -w -X SCENARIO
for disk in /var/disks/*; do umount -l "$disk"; done
rm -rf /var/disks'

clean() {
  local space spaces release topic node
  for node in $(kind get nodes --name "$name"); do
    docker exec "$node" ip address flush dev eth0 label eth0:balancer
    docker exec "$node" sh -c "$of_node" > /dev/null 2>&1 || true
  done
  kubectl uncordon --selector=kubernetes.io/hostname > /dev/null
  # An API whose pod is gone would hold every namespace, and such a webhook every StatefulSet.
  kubectl delete apiservices,mutatingwebhookconfigurations,storageclasses,persistentvolumes \
    --selector=barnabas.dev/scenario --wait=false > /dev/null
  mapfile -t spaces < <(kubectl get namespaces --selector=barnabas.dev/scenario \
    -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}')
  [ ${#spaces[@]} != 0 ] || return 0
  say "removing ${spaces[*]}"
  # Operators first, with what they have outside of namespaces; then nobody is left to release
  # topics, and a finalizer must not hold a namespace.
  for space in "${spaces[@]}"; do
    for release in $(helm list --all --short --namespace "$space"); do
      helm uninstall "$release" --namespace "$space" --wait --cascade foreground --timeout 120s \
        > /dev/null || say "cannot uninstall $release of $space"
    done
  done
  for space in "${spaces[@]}"; do
    for topic in $(kubectl get topics --namespace "$space" -o name 2> /dev/null || true); do
      kubectl patch "$topic" --namespace "$space" --type merge \
        --patch '{"metadata": {"finalizers": null}}' > /dev/null || true
    done
  done
  kubectl delete namespace "${spaces[@]}" --ignore-not-found --timeout=300s > /dev/null
}

exclusively
clean
