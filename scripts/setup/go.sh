# Clients and servers that Debian 12 lacks, and the peer registry of the bench, built from the Go module proxy.
go_tools=(
  registry=github.com/distribution/distribution/v3/cmd/registry@v3.1.1
  crane=github.com/google/go-containerregistry/cmd/crane@v0.21.9
  regctl=github.com/regclient/regclient/cmd/regctl@v0.11.5
  helm=helm.sh/helm/v4/cmd/helm@v4.2.4
  versitygw=github.com/versity/versitygw/cmd/versitygw@v1.7.0
  cosign=github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
)

# One after another: each build uses every core by itself. The stamp holds module and version, so
# a new version here is built and an old one is not built again. With an argument: only that one.
build_go_tools() {
  local entry name module began
  for entry in "${go_tools[@]}"; do
    name=${entry%%=*} module=${entry#*=}
    [[ -z ${1:-} || $1 == "$name" ]] || continue
    [[ -x $TOOLS/bin/$name && $(cat "$TOOLS/stamps/$name" 2>/dev/null) == "$module" ]] && continue
    if ! command -v go >/dev/null; then
      lacking "$name" "install Go 1.26 or newer, then run scripts/setup.sh"
      continue
    fi
    say "building $name (${module##*@})"
    began=$SECONDS
    if CGO_ENABLED=0 GOFLAGS= GOBIN=$TOOLS/bin go install -trimpath -ldflags='-s -w' "$module" \
      >"$TOOLS/$name.log" 2>&1; then
      printf '%s\n' "$module" >"$TOOLS/stamps/$name"
      say "built $name in $((SECONDS - began)) s"
    else
      lacking "$name" "GOFLAGS= GOBIN=$TOOLS/bin go install $module (log: $TOOLS/$name.log)"
    fi
  done
}
