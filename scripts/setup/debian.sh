# Debian 12's packages, each with a program or file that tells whether it is there.
debian_packages=(
  skopeo:skopeo podman:podman buildah:buildah containerd:ctr docker.io:dockerd
  docker-registry:docker-registry nginx:nginx strace:strace wrk:wrk umoci:umoci
  busybox-static:busybox runc:runc crun:crun uidmap:newuidmap iptables:iptables
  fuse-overlayfs:fuse-overlayfs openssl:openssl curl:curl iproute2:ip procps:pgrep
  postgresql:/usr/lib/postgresql/15/bin/initdb postgresql-client:psql
  etcd-server:etcd etcd-client:etcdctl
  ceph-mon:ceph-mon ceph-osd:ceph-osd radosgw:radosgw ceph-common:ceph
)

absent_packages() {
  local entry
  for entry in "${debian_packages[@]}"; do
    command -v "${entry#*:}" >/dev/null || printf '%s\n' "${entry%%:*}"
  done
}

# Packages with a service would start it on a machine with systemd; a test machine wants the
# programs only. The guard is removed again, and one that was there before is left alone.
without_services() {
  local policy=/usr/sbin/policy-rc.d status
  if [[ -e $policy ]]; then "$@"; return; fi
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
  "$@"
  status=$?
  rm -f "$policy"
  return $status
}

install_debian() {
  local absent
  mapfile -t absent < <(absent_packages)
  ((${#absent[@]} == 0)) && return
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    say "apt-get install ${absent[*]}"
    apt-get update -qq >"$TOOLS/apt.log" 2>&1
    without_services env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends -o DPkg::Lock::Timeout=300 "${absent[@]}" >>"$TOOLS/apt.log" 2>&1 ||
      say "apt-get failed, see $TOOLS/apt.log"
    hash -r
  fi
  mapfile -t absent < <(absent_packages)
  ((${#absent[@]} == 0)) ||
    lacking "${absent[*]}" "sudo apt-get install --no-install-recommends ${absent[*]}"
}
