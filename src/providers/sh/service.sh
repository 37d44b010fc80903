# systemd: services, unit files, timers, reload and restart.

reload_units() { must systemctl daemon-reload; }

# switch UNIT enabled|disabled|masked running|stopped: only what differs is touched.
switch() {
  look_unit "$1" || fail "$WHY"
  case $U_LOAD in not-found) fail "there is no unit $1 on this host: which package or unit file brings it?" ;; esac
  case "$U_ENABLED $2" in
    'masked enabled') must systemctl unmask -q -- "$1" && must systemctl enable -q -- "$1" ;;
    'masked disabled') must systemctl unmask -q -- "$1" && must systemctl disable -q -- "$1" ;;
    'disabled enabled') must systemctl enable -q -- "$1" ;;
    'enabled disabled') must systemctl disable -q -- "$1" ;;
    'enabled masked' | 'disabled masked') must systemctl mask -q -- "$1" ;;
  esac
  case "$U_RUNNING $3" in
    'stopped running')
      x systemctl start $NO_BLOCK -- "$1" || { say_unit "$1"; fail "$1 does not start"; }
      [ -n "$NO_BLOCK" ] || systemctl is-active -q -- "$1" || { say_unit "$1"; fail "$1 started and ended at once"; }
      # It has read the new configuration.
      rm -f "$R/pending/$s_key"
      ;;
    'running stopped')
      x systemctl stop $NO_BLOCK -- "$1" || { say_unit "$1"; fail "$1 does not stop"; }
      rm -f "$R/pending/$s_key"
      ;;
  esac
}
NO_BLOCK=''
say_unit() { systemctl status --no-pager -l -n 8 -- "$1" 2>&1 | tail -n 12; }

wish() { case $1 in true) W_WISH=$2 ;; false) W_WISH=$3 ;; *) W_WISH= ;; esac; }
do_service() {
  local on run
  unit_name "$s_key"
  wish "$a_enabled" enabled disabled; on=$W_WISH
  wish "$a_running" running stopped; run=$W_WISH
  look_unit "$U" || fail "$WHY"
  # The plan starts it, so it tells nobody else to reload. Its package has started it already, with another configuration.
  if [ "$s_starts$run$U_RUNNING" = 1runningrunning ] && [ -f "$R/pending/$s_key" ]; then
    switch "$U" "$on" ''
    tell_service restart "$s_key"
    return
  fi
  switch "$U" "$on" "$run"
}
# What we started is stopped; the unit itself belongs to its package.
drop_service() {
  unit_name "$s_key"
  look_unit "$U" || fail "$WHY"
  case $U_LOAD in not-found) ;; *) switch "$U" disabled stopped ;; esac
}
keep_service() { :; }
restore_service() {
  local former
  unit_name "$s_key"
  former=$(cat "$KD/fp")
  case $former in
    absent) ;;
    *) former=${former#service } && switch "$U" "${former% *}" "${former#* }" ;;
  esac
}

do_unit() { put_file "/etc/systemd/system/$s_key" 0644; reload_units; }
drop_unit() { rm -f -- "/etc/systemd/system/$s_key" || fail "the unit file cannot be removed"; reload_units; }
keep_unit() { keep_place "/etc/systemd/system/$s_key"; }
restore_unit() { put_back "/etc/systemd/system/$s_key"; reload_units; }

do_timer() {
  local on run place
  place=/etc/systemd/system/$s_key
  look_content "$place" || fail "$WHY"
  former=$FP
  put_file "$place" 0644
  look_content "$place" || fail "$WHY"
  if [ "$FP" != "$former" ]; then
    reload_units
    # A timer reads its times when it starts.
    [ "$former" = absent ] || ! systemctl is-active -q -- "$s_key" || must systemctl restart -- "$s_key"
  fi
  wish "${a_enabled:-true}" enabled disabled; on=$W_WISH
  wish "${a_running:-true}" running stopped; run=$W_WISH
  switch "$s_key" "$on" "$run"
}
drop_timer() {
  if [ -e "/etc/systemd/system/$s_key" ]; then switch "$s_key" disabled stopped; fi
  drop_unit
}
keep_timer() { keep_unit; }
restore_timer() {
  local former
  former=$(cat "$KD/fp")
  case $former in
    absent)
      [ ! -e "/etc/systemd/system/$s_key" ] || switch "$s_key" disabled stopped
      restore_unit
      ;;
    *)
      restore_unit
      former=${former#timer }
      on=${former%% *} former=${former#* }
      switch "$s_key" "$on" "${former%% *}"
      [ "${former%% *}" = stopped ] || must systemctl restart $NO_BLOCK -- "$s_key"
      ;;
  esac
}

# A service that does not run reads its configuration when it starts: nothing to tell it.
tell_service() {
  unit_name "$2"
  look_unit "$U" || fail "$WHY"
  if [ "$U_RUNNING" = running ]; then
    case $1 in
      reload) x systemctl reload-or-restart $NO_BLOCK -- "$U" ;;
      restart) x systemctl restart $NO_BLOCK -- "$U" ;;
    esac || { say_unit "$U"; fail "$U refuses to $1"; }
    [ -n "$NO_BLOCK" ] || systemctl is-active -q -- "$U" || { say_unit "$U"; fail "$U does not run after its $1"; }
  fi
  rm -f "$R/pending/$2"
}
