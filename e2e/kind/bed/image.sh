# How a node image and the programs in it are made; `node.sh` sources this. What stands here is part
# of the digest that names the image: how images are found and kept belongs there.

build() {
  programs
  debian
  say "building the node image"
  local room=$cache/node/room component
  rm -rf "$room" && mkdir "$room"
  cp "$bed"/node/* "$room/"
  ln "$cache"/node/bin/* "$room/"
  : > "$room/images.tar"
  stage components barnabas/kind-components
  stage coredns "registry.k8s.io/coredns/coredns:$coredns"
  stage pause "registry.k8s.io/pause:$pause_image"
  local names=("registry.k8s.io/coredns/coredns:$coredns" "registry.k8s.io/pause:$pause_image")
  for component in kube-{apiserver,controller-manager,scheduler,proxy}:$kubernetes \
    etcd:$etcd_image; do
    docker tag barnabas/kind-components "registry.k8s.io/$component"
    names+=("registry.k8s.io/$component")
  done
  docker tag barnabas/kind-components barnabas/kind-tools:local
  docker save -o "$room/images.tar" "${names[@]}" barnabas/kind-tools:local debian:12-slim
  stage node "$image"
  rm -rf "$room"
}

stage() {
  local log=$cache/node/$1.log
  docker build --progress plain --network host --build-arg "KUBERNETES_VERSION=$kubernetes" \
    --target "$1" -t "$2" "$cache/node/room" > "$log" 2>&1 || { tail -n 30 "$log" >&2; return 1; }
}

# Go's own cache makes the second build of the same thing free.
programs() {
  packages <<'END'
gcc /usr/bin/gcc
libc6-dev /usr/include/stdio.h
END
  local to=$cache/node/bin version=k8s.io/component-base/version
  say "building Kubernetes $kubernetes"
  (cd "$bed/go/kube" && go build -trimpath -o "$to/kube" -ldflags "-s -w \
    -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=34 \
    -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes" .)
  ln -sf ../node/bin/kube "$cache/bin/kubectl"
  say "building etcd"
  (cd "$bed/go/etcd" && go build -trimpath -o "$to/etcd" -ldflags "-s -w" .)
  goinstall coredns "$coredns" "github.com/coredns/coredns@$coredns" "$to"
  goinstall local-path-provisioner "$local_path" \
    "github.com/rancher/local-path-provisioner@$local_path" "$to"
  gcc -Os -static -s -o "$to/pause" "$bed/node/pause.c"
}

# The base image under its usual name, so that a Dockerfile works here as it does elsewhere.
debian() {
  docker image inspect debian:12-slim > /dev/null 2>&1 && return
  say "making debian:12-slim"
  packages <<'END'
debootstrap /usr/sbin/debootstrap
END
  local root=$cache/debian
  rm -rf "$root"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$root" > /dev/null
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/usr/share/{doc,man,locale}/*
  tar -C "$root" -c . | docker import - debian:12-slim > /dev/null
  rm -rf "$root"
}
