# The ledger of a zone, on the host that keeps it. Set before: Z the zone's name, A apply, T token, S digest of what is sent.
#   owned         + KEY <tab> JSON <tab> .     - KEY <tab> .              the last line of a key counts
#   marks-APPLY   begun ID <tab> JSON <tab> .  ended ID <tab> OUTCOME <tab> .   the first begun and the last end count
# A line without its last dot was cut off while it was written, and counts for nothing.

ZD="$R/zones/$Z"

zone_owned() {
  [ ! -f "$ZD/owned" ] || awk -F'\t' '
    $NF != "." || $0 == "." { next }
    { k = substr($1, 3) }
    /^\+ / { if (!(k in live)) keys[++n] = k; live[k] = $2 }
    /^- / { if (k in live) live[k] = "" }
    END { for (i = 1; i <= n; i++) if (live[keys[i]] != "") print keys[i] "\t" live[keys[i]] }' "$ZD/owned"
}
zone_marks() { [ ! -f "$ZD/marks-$1" ] || awk -F'\t' '$NF == "." && $0 != "." { print $1 "\t" $2 }' "$ZD/marks-$1"; }
# tell WORD: what a function prints, for the controller.
tell() { sed "s/^/$M $1 /"; }

zone_open() { mkdir -p "$ZD" && lock zones 60 9 || { say busy; exit 1; }; }

# Both files are added to and never rewritten here; each begins on a fresh line, whatever the one before it came to.
zone_take() {
  cat >"$ZD/in" && [ "$(sha256sum <"$ZD/in")" = "$S  -" ] || {
    rm -f "$ZD/in"
    echo 'what was sent did not arrive whole: is the disk full?' >&2
    exit 1
  }
  { echo; sed -n 's/^m //p' "$ZD/in"; } >>"$ZD/marks-$A" && safe "$ZD/marks-$A" || exit 1
  { echo; sed -n 's/^o //p' "$ZD/in"; } >>"$ZD/owned" && safe "$ZD/owned" || exit 1
  rm -f "$ZD/in"
}

# What was replaced since goes when it is most of the file.
zone_compact() {
  [ "$(wc -c <"$ZD/owned")" -gt 262144 ] || return 0
  zone_owned | awk -F'\t' '{ print "+ " $1 "\t" $2 "\t." }' >"$ZD/owned.tmp" && safe "$ZD/owned.tmp" || return 0
  if [ "$(wc -c <"$ZD/owned.tmp")" -lt "$(($(wc -c <"$ZD/owned") / 2))" ]; then mv -f "$ZD/owned.tmp" "$ZD/owned"; fi
  rm -f "$ZD/owned.tmp"
}

# Claims, before anything is sent to the name server.
zone_begin() {
  zone_open
  read_lease || exit 1
  if [ "$L_TOKEN" -gt "$T" ]; then
    say "fenced $L_TOKEN"
    return 0
  fi
  zone_take
  zone_compact
  say taken
}

# What became of them; true whoever holds the lease by now.
zone_end() {
  zone_open
  zone_take
  say taken
}
