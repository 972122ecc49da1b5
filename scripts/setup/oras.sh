# oras is neither in Debian 12 nor on the Go module proxy. Debian 13's package holds one program,
# which is unpacked beside the other tools; apt keeps its lists for this in a folder of its own, so
# that the system's sources stay as they are.
oras_stamp="oras from Debian trixie, 1.2"

fetch_oras() {
  [[ -x $TOOLS/bin/oras && $(cat "$TOOLS/stamps/oras" 2>/dev/null) == "$oras_stamp" ]] && return
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg work apt mirror
  # The mirror that this machine uses already has the next release as well.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Component: main' 2>/dev/null |
    grep -v security | head -n 1)
  if [[ -n $mirror && -r $keyring ]]; then
    say "fetching oras from Debian trixie"
    work=$(mktemp -d)
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    printf 'deb [signed-by=%s] %s trixie main\n' "$keyring" "$mirror" >"$work/sources"
    apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources" -o Dir::Etc::sourceparts=-
      -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache"
      -o Acquire::Languages=none -o APT::Sandbox::User=root)
    if ("${apt[@]}" update && cd "$work" && "${apt[@]}" download oras && dpkg-deb -x oras_*.deb root &&
      install -m 755 root/usr/bin/oras "$TOOLS/bin/oras" && "$TOOLS/bin/oras" version) \
      >"$TOOLS/oras.log" 2>&1; then
      printf '%s\n' "$oras_stamp" >"$TOOLS/stamps/oras"
    fi
    rm -rf "$work"
  fi
  [[ -s $TOOLS/stamps/oras ]] || lacking oras "Debian 13: sudo apt-get install oras (log: $TOOLS/oras.log)"
}
