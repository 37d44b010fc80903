# The lease: one writer an organisation. HOLDER, APPLY, T token (empty: take the next), DEAD seconds, KNOWN dead holder.

held() { say "held $L_TOKEN$TAB$L_HOLDER$TAB$L_APPLY$TAB$L_SINCE$TAB$AGE"; }
granted() {
  store "$R/lease" "$1$TAB$HOLDER$TAB$APPLY$TAB$NOW$TAB$NOW" || return 1
  if [ -n "$L_HOLDER" ] && [ "$L_HOLDER" != "$HOLDER" ]; then
    say "granted $1 $L_TOKEN$TAB$L_HOLDER$TAB$L_APPLY$TAB$L_SINCE$TAB$AGE"
  else
    say "granted $1"
  fi
}
lease_open() {
  mkdir -p "$R" && lock lease 20 9 && read_lease || return 1
  NOW=$(date +%s)
  AGE=$((NOW - L_BEAT))
}
# A beat far in the future: the clock was set back since, and nobody has renewed it.
dead() { [ "$AGE" -ge "$DEAD" ] || [ "$AGE" -lt -60 ] || [ "$L_HOLDER" = "$KNOWN" ]; }
acquire() {
  lease_open || return 1
  if [ -n "$T" ]; then
    if [ "$L_TOKEN" -gt "$T" ]; then held; else granted "$T"; fi
  elif [ -n "$L_HOLDER" ] && [ "$L_HOLDER" != "$HOLDER" ] && ! dead; then
    held
  else
    granted $((L_TOKEN + 1))
  fi
}
heartbeat() {
  lease_open || return 1
  if [ "$L_TOKEN" = "$T" ] && [ -n "$L_HOLDER" ]; then
    store "$R/lease" "$T$TAB$L_HOLDER$TAB$L_APPLY$TAB$L_SINCE$TAB$NOW" && say beat
  else
    say "fenced $L_TOKEN $L_HOLDER"
  fi
}
# The token stays, so that it only ever grows.
release() {
  lease_open || return 1
  [ "$L_TOKEN" != "$T" ] || store "$R/lease" "$T$TAB$TAB$L_APPLY$TAB$L_SINCE$TAB$NOW" || return 1
  say released
}
