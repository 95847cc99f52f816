#!/bin/bash
# Provides the node image and prints its name and its kind: `stock`, where images can be pulled, or
# `built`, made here from Kubernetes' Go modules and Debian's packages. A second run does nothing.
# The built image is also kept as an archive in the cache: an engine that lost its images takes it
# from there. BARNABAS_KIND_NODE=built|stock decides without trying.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
source "$bed/image.sh"

main() {
  local choice=${BARNABAS_KIND_NODE:-$(cat "$cache/node/choice" 2> /dev/null || true)}
  if [ -z "$choice" ]; then
    choice=built
    say "trying to pull $stock_node"
    timeout 30 docker pull -q hello-world > /dev/null 2>&1 && choice=stock
    echo "$choice" > "$cache/node/choice"
  fi
  if [ "$choice" = stock ]; then
    docker image inspect "$stock_node" > /dev/null 2>&1 || docker pull -q "$stock_node" >&2
    kubectl_of "$stock_node" /usr/bin/kubectl
    echo "$stock_node stock"
  else
    built
    echo "$image built"
  fi
}

# The kubectl of an image, where there is none: building it would mean building all of Kubernetes.
kubectl_of() {
  local box
  [ -x "$cache/bin/kubectl" ] && return
  # It may be a link to what is gone.
  rm -f "$cache/bin/kubectl"
  box=$(docker create "$1")
  docker cp "$box:$2" "$cache/bin/kubectl.part" >&2
  docker rm "$box" > /dev/null
  mv "$cache/bin/kubectl.part" "$cache/bin/kubectl"
}

# A digest of everything that the image is made from names it.
built() {
  local stamp archive
  stamp=$({
    echo "$kubernetes $coredns $local_path $etcd_image $pause_image"
    cat "$bed/image.sh" "$bed"/node/* "$bed"/go/*/*
  } | sha256sum | cut -c1-16)
  image=barnabas/kind-node:$stamp
  archive=$cache/node/$stamp.tar.gz
  if ! docker image inspect "$image" debian:12-slim > /dev/null 2>&1; then
    if [ -e "$archive" ]; then
      say "loading the node image from the cache"
      docker load -q -i "$archive" >&2
    else
      build
    fi
  fi
  if [ ! -e "$archive" ]; then
    say "keeping the node image in the cache"
    older_archives | xargs -r rm -f
    docker save "$image" debian:12-slim | gzip -1 > "$archive.part"
    mv "$archive.part" "$archive"
  fi
  # The time of its last use.
  touch "$archive"
  # All components are this program; it is kubectl when it is called so.
  kubectl_of "$image" /usr/local/bin/kube
}

# All archives but the one that was used last: two branches that take turns need one each.
older_archives() {
  find "$cache/node" -maxdepth 1 -name '*.tar.gz' -printf '%T@ %p\n' | sort -rn | tail -n +2 \
    | cut -d' ' -f2-
}

engine
main
