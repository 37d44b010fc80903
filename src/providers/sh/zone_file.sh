# The master file of a zone that others write too. Set before: F its path, N the zone, V its view or nothing, K a name for our mark,
# W to let the server write its journal into the file first, D digest of the text that was read, L serial that was loaded then,
# S digest of the text that is sent.

zf_die() { echo "$*" >&2; exit 1; }

# Which server answers for the zone, in P; whether it takes updates by itself, in DYN.
zf_server() {
  [ -f "$F" ] || zf_die "there is no file $F"
  F=$(readlink -f "$F")
  DYN='' P=''
  if command -v rndc >/dev/null 2>&1 && ZS=$(rndc zonestatus "$N" ${V:+IN "$V"} 2>&1); then
    P=bind
    case $ZS in *'dynamic: yes'*) DYN=1 ;; esac
  elif command -v knotc >/dev/null 2>&1 && knotc zone-status "$N" >/dev/null 2>&1; then
    P=knot DYN=1
  elif command -v nsd-control >/dev/null 2>&1 && nsd-control zonestatus "$N" >/dev/null 2>&1; then
    P=nsd
  else
    zf_die "no name server on this host answers for $N: BIND, Knot DNS and NSD were asked${ZS:+; rndc says: $ZS}"
  fi
}

zf_bind() { rndc "$1" "$N" ${V:+IN "$V"} 2>&1; }

zf_freeze() {
  [ -n "$DYN" ] || return 0
  mkdir -p "$R/frozen" && : >"$R/frozen/$K" && safe "$R/frozen/$K" || exit 1
  case $P in
    bind) OUT=$(zf_bind freeze) ;;
    knot) OUT=$(knotc -b zone-freeze "$N" 2>&1) ;;
  esac || { zf_thaw; zf_die "the zone cannot be frozen: $OUT"; }
}

zf_thaw() {
  [ -e "$R/frozen/$K" ] || return 0
  case $P in
    bind) OUT=$(zf_bind thaw) ;;
    knot) OUT=$(knotc -b zone-thaw "$N" 2>&1) ;;
  esac && rm -f "$R/frozen/$K"
}

# The server reads the file again.
zf_load() {
  case $P in
    bind) if [ -n "$DYN" ]; then zf_thaw; else OUT=$(zf_bind reload); fi ;;
    knot) zf_thaw && OUT=$(knotc -b zone-reload "$N" 2>&1) ;;
    nsd) OUT=$(nsd-control reload "$N" 2>&1) ;;
  esac
}

# The serial that the server has in memory; nothing where it does not say.
zf_serial() {
  case $P in
    bind) rndc zonestatus "$N" ${V:+IN "$V"} | sed -n 's/^serial: //p' ;;
    knot) knotc zone-status "$N" +serial | sed -n 's/.*serial: \([0-9]*\).*/\1/p' ;;
    nsd) nsd-control zonestatus "$N" | sed -n 's/.*commit-serial: "\([0-9]*\) .*/\1/p' ;;
  esac
}

zf_check() {
  case $P in
    knot) command -v kzonecheck >/dev/null 2>&1 || zf_die 'kzonecheck is missing: install knot-dnssecutils' ;;
    bind) command -v named-checkzone >/dev/null 2>&1 || zf_die 'named-checkzone is missing: install bind9-utils' ;;
  esac
  case $P in
    # Its own rules for a primary, as for the file that it loads.
    bind) OUT=$(named-checkzone "$N" "$1" 2>&1) ;;
    knot) OUT=$(kzonecheck -o "$N" "$1" 2>&1) ;;
    nsd) OUT=$(nsd-checkzone "$N" "$1" 2>&1) ;;
  esac
}

zf_open() {
  mkdir -p "$R" && lock "file-$K" 60 8 || { say busy; exit 1; }
  zf_server
  # A script that was killed in the middle may have left it frozen.
  zf_thaw || zf_die "the zone is frozen and cannot be thawed: $OUT"
  if [ -e "$R/loading/$K" ]; then
    zf_load || zf_die "the file was changed and the server does not take it: $OUT"
    rm -f "$R/loading/$K"
  fi
}

# The text as it is.
zf_look() {
  zf_open
  # Not without need: a server writes the whole file anew, without its comments.
  if [ -n "$W" ] && [ -n "$DYN" ]; then
    case $P in
      bind) OUT=$(zf_bind sync) ;;
      knot) OUT=$(knotc -b zone-flush "$N" 2>&1) ;;
    esac || zf_die "the server does not write its journal into the file: $OUT"
  fi
  say "server $P $(zf_serial)"
  say "today $(date -u '+%Y %m %d')"
  base64 <"$F" | sed "s/^/$M text /"
}

# The new text in the place of the one that was read, checked by the server's own program before it reads it.
zf_write() {
  zf_open
  NEW="$F.cutover-new" OLD="$F.cutover-old"
  cat >"$NEW" && [ "$(sha256sum <"$NEW")" = "$S  -" ] || {
    rm -f "$NEW"
    zf_die 'what was sent did not arrive whole: is the disk full?'
  }
  chown --reference="$F" "$NEW" && chmod --reference="$F" "$NEW" || zf_die "the owner of $F cannot be kept"
  zf_freeze
  trap 'zf_thaw; rm -f "$NEW" "$OLD"; [ -z "$LOCKS" ] || rm -rf $LOCKS' EXIT
  if [ "$(sha256sum <"$F")" != "$D  -" ] || [ "$(zf_serial)" != "$L" ]; then
    say changed
    return 0
  fi
  if ! zf_check "$NEW"; then
    printf '%s\n' "$OUT" | sed "s/^/$M refused /"
    return 0
  fi
  mkdir -p "$R/loading" && : >"$R/loading/$K" && safe "$R/loading/$K" || exit 1
  cp -p "$F" "$OLD" && safe "$NEW" && mv -f "$NEW" "$F" && safe "${F%/*}" || zf_die "$F cannot be replaced"
  if ! zf_load; then
    mv -f "$OLD" "$F" && safe "${F%/*}"
    printf '%s\n' "$OUT" | sed "s/^/$M refused /"
    zf_load || zf_die "neither the new file nor the former one is taken by the server: $OUT"
    rm -f "$R/loading/$K"
    return 0
  fi
  rm -f "$R/loading/$K"
  say "written $(zf_serial)"
}
