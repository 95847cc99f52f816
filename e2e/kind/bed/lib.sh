# What the bed's scripts share: versions, the cache, a docker client that can build, an engine.
# Sourced, never run.

kubernetes=v1.34.2 coredns=v1.12.1 local_path=v0.0.30 etcd_image=3.6.5-0 pause_image=3.10.1
kind=v0.30.0 helm=v3.19.0
stock_node=kindest/node:v1.34.0 # the one that this kind was released with

bed=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${BARNABAS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/barnabas}/kind
mkdir -p "$cache/bin" "$cache/node/bin"
export PATH="$cache/bin:$PATH" CGO_ENABLED=0 DOCKER_BUILDKIT=1

say() { echo "[kind] $*" >&2; }

# One of these at a time: two `up` in parallel would build everything twice.
exclusively() {
  exec 9> "$cache/lock"
  flock 9
}

packages() {
  local missing=() name proof
  while read -r name proof; do
    [ -e "$proof" ] || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# A docker engine: the one that answers, or Debian's.
engine() {
  if ! docker version > /dev/null 2>&1; then
    packages <<'END'
docker.io /usr/sbin/dockerd
iptables /usr/sbin/iptables
END
    # An engine that just starts, or that another run has started.
    answers 5 /usr/bin/docker version || start_engine
  fi
  builder
}

start_engine() {
  say "starting dockerd"
  stale_pids
  local runtime=()
  if ! grep -q 'CapBnd:.*ffffffffff$' /proc/self/status; then
    install -m 0755 "$bed/node/runc-bounded" "$cache/runc-bounded"
    runtime=(--add-runtime "bounded=$cache/runc-bounded" --default-runtime bounded)
  fi
  # Descriptor 9 is the lock, which the daemon must not keep.
  setsid nohup dockerd "${runtime[@]}" > "$cache/dockerd.log" 2>&1 < /dev/null 9>&- &
  answers 60 /usr/bin/docker version || { tail -n 20 "$cache/dockerd.log" >&2; return 1; }
}

# Where /run is no tmpfs it outlives the machine, and the numbers in it then belong to others: an
# engine does not start while any process has its own old number, and takes whatever has
# containerd's for its containerd.
stale_pids() {
  local file name
  while read -r file name; do
    [ ! -e "$file" ] || lives "$(cat "$file")" "$name" || rm -f "$file"
  done <<'END'
/var/run/docker.pid dockerd
/var/run/docker/containerd/containerd.pid containerd
END
}

# Whether the process of this number is that program, and not one that only waits to be reaped.
lives() {
  local name=
  { read -r name < "/proc/$1/comm"; } 2> /dev/null
  [ "$name" = "$2" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2> /dev/null
}

answers() {
  local _
  for _ in $(seq "$1"); do
    "${@:2}" > /dev/null 2>&1 && return
    sleep 1
  done
  return 1
}

# Puts a docker client first on the PATH that speaks the engine's API and has BuildKit. Of several
# installed ones the newest may be neither: too new for the engine, or without its build plugin.
builder() {
  local client
  [ -L "$cache/bin/docker" ] && builds "$cache/bin/docker" && return
  rm -f "$cache/bin/docker"
  for client in $(type -ap docker) /usr/bin/docker; do
    if builds "$client"; then
      ln -sf "$client" "$cache/bin/docker"
      hash -r
      return
    fi
  done
  say "no docker client here can build with BuildKit"
  return 1
}

builds() {
  printf 'FROM scratch\nLABEL probe=1\n' | "$1" build -q - > /dev/null 2>&1
}

# The commands that every bed needs.
tools() {
  goinstall kind "$kind" "sigs.k8s.io/kind@$kind" "$cache/bin"
  # Helm's own build tells it which Kubernetes it is of; without that, charts refuse it.
  local minor=${kubernetes#v1.} of=helm.sh/helm/v3 name
  local versions="-X $of/internal/version.version=$helm"
  for name in chartutil lint/rules; do
    versions+=" -X $of/pkg/$name.k8sVersionMajor=1 -X $of/pkg/$name.k8sVersionMinor=${minor%.*}"
  done
  goinstall helm "$helm" "$of/cmd/helm@$helm" "$cache/bin" "$versions"
}

goinstall() {
  local name=$1 version=$2 package=$3 to=$4 flags="-s -w ${5:-}"
  [ -x "$to/$name" ] && [ "$(cat "$to/.$name" 2> /dev/null)" = "$version $flags" ] && return
  say "building $name $version"
  GOBIN="$to" go install -ldflags "$flags" "$package"
  echo "$version $flags" > "$to/.$name"
}
