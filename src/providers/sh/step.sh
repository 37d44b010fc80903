# Steps, one after the other. Set before: A apply, T token, K key of masks, ARM seconds until the host reverts (or empty),
# PKG_WAIT seconds to wait for dpkg's lock. Each step sets s_*, o_*, a_*, c_* and calls step.

MD="$R/marks/$A"
PD="$R/pins/$A"
DONE=' '
TMP='' SERIAL='' PKG_GONE=''

# The three kinds whose functions are named otherwise.
word() { case $s_kind in dns-zone) F=zone ;; mail-account) F=account ;; *) F=$s_kind ;; esac; }

prepare() {
  mkdir -p "$R/owned" "$MD" "$PD" "$R/former/$A" "$R/pending" "$R/tmp" "$R/blobs" || exit 1
  lock run "$1" 9 || { say busy; exit 1; }
  # A batch after the host has reverted is a new attempt.
  rm -f "$R/reverted/$A"
  [ ! -f "$PD/sweep" ] || move_pins
}

# A step of ours may change what later ones pinned. Which kinds can it touch?
touched() {
  case $s_kind in
    package | command) echo package group user directory file line setting unit binary firewall dns-zone mail-account service timer ;;
    unit) echo service timer ;;
    user | group) echo user group ;;
    file | binary) echo line setting mail-account ;;
    line) echo setting ;;
    setting) echo line ;;
    service | timer) echo service timer ;;
  esac
}
pin() { if [ -f "$PD/$s_id" ]; then PIN=$(cat "$PD/$s_id"); else PIN=$s_expect; fi; }

# hold_pins: notes, before the step, which pins of later steps hold. What somebody else has changed stays stale.
hold_pins() {
  local kinds
  kinds=" $(touched | tr '\n' ' ') "
  [ "$kinds" != '  ' ] || return 0
  (
    for id in $ALL_STEPS; do
      if [ -f "$MD/$id" ] || [ -f "$MD/$id.started" ]; then continue; fi
      fresh_step
      "vars_$id"
      case $s_cas$kinds in 1*" $s_kind "*) ;; *) continue ;; esac
      [ -z "$s_from" ] || . "$R/former/$s_from/meta"
      pin
      if look "$s_kind" "$s_key" && [ "$FP" = "$PIN" ]; then echo "$id"; fi
    done
  ) >"$PD/sweep.tmp" 2>/dev/null && mv "$PD/sweep.tmp" "$PD/sweep"
}
# move_pins: those that held move along. After a kill in between, the next script does it.
move_pins() {
  [ -f "$PD/sweep" ] || return 0
  (
    while read -r id; do
      command -v "vars_$id" >/dev/null || continue
      fresh_step
      "vars_$id"
      [ -z "$s_from" ] || . "$R/former/$s_from/meta"
      pin
      if look "$s_kind" "$s_key" && [ "$FP" != "$PIN" ]; then store "$PD/$s_id" "$FP"; fi
    done <"$PD/sweep"
  ) 2>/dev/null
  rm -f "$PD/sweep"
}

fresh_step() {
  s_id='' s_action='' s_kind='' s_key='' s_own='' s_was='' s_ledger='' s_expect='' s_cas='' s_after='' s_renames='' s_risky='' s_notify='' s_from=''
  s_meta='' s_starts=''
  o_secret='' o_file='' o_path='' o_prefix='' o_line='' o_old='' o_creates='' o_unless='' o_once='' o_user=''
  a_owner='' a_group='' a_mode='' a_validate='' a_version='' a_hold='' a_recommends='' a_system='' a_shell='' a_line='' a_value=''
  a_enabled='' a_running='' a_run='' a_timeout='' a_undo='' a_reload=''
  unset a_groups a_comment a_gid a_uid a_home a_quota
  c_set='' c_b64='' c_blob='' c_sum=''
  TMP='' SERIAL='' OPEN=''
}

ended() { say "ended $s_id $*"; }
refuse() { ended "failed 1 $(printf '%s\n' "$1" | b64)"; }

# Things that the host says no to before anything is touched.
not_now() {
  local a
  if [ -f "$MD/$s_id" ]; then
    case $(cat "$MD/$s_id") in
      done*)
        DONE="$DONE$s_id "
        ended "$(cat "$MD/$s_id")"
        return 0
        ;;
      *) rm -f "$MD/$s_id" ;;
    esac
  fi
  read_lease || { refuse 'the lease cannot be read'; return 0; }
  if [ "$L_TOKEN" -gt "$T" ]; then ended "fenced $L_TOKEN"; return 0; fi
  if [ -f "$R/reverted/$A" ]; then ended reverted; return 0; fi
  for a in $s_after; do
    case $DONE in *" $a "*) ;; *) ended "skipped $a"; return 0 ;; esac
  done
  return 1
}

# keep: the former state, whole or not at all, once for each step; an interrupted attempt's stays.
keep() {
  KD="$R/former/$A/$s_id"
  [ ! -d "$KD" ] || return 0
  KT="$KD.tmp"
  rm -rf "$KT"
  mkdir "$KT" || return 1
  if [ -n "$s_from" ]; then
    cp "$R/former/$s_from/meta" "$KT/meta" || return 1
  else
    printf '%s\n' "$s_meta" >"$KT/meta" || return 1
  fi
  if [ -f "$R/owned/$s_own" ]; then cp "$R/owned/$s_own" "$KT/ledger" || return 1; fi
  # The entry of the former name, which this step strikes; a restore that brought it back is undone by striking it again.
  if [ -n "$s_was" ] && [ -f "$R/owned/$s_was" ]; then
    { cp "$R/owned/$s_was" "$KT/was.ledger" && printf '%s\n' "$s_was" >"$KT/was"; } || return 1
  elif [ -n "$s_from" ] && [ -f "$R/former/$s_from/was" ]; then
    cp "$R/former/$s_from/was" "$KT/struck" || return 1
  elif [ -n "$s_from" ] && [ -f "$R/former/$s_from/struck" ]; then
    cp "$R/former/$s_from/struck" "$KT/was" || return 1
    cp "$R/owned/$(cat "$KT/was")" "$KT/was.ledger" || return 1
  fi
  printf '%s\n' "$FP" >"$KT/fp" || return 1
  # Whoever asks later what became of the step has no key to mask with.
  if [ "$o_secret" = 1 ]; then
    (o_secret=0 && look "$s_kind" "$s_key" && printf '%s\n' "$FP") >"$KT/raw" || return 1
  fi
  printf '%s\n' "$s_notify" >"$KT/notify" || return 1
  printf '%s\n' "$s_action" >"$KT/action" || return 1
  # Keeping may look at other things beside (a user's own group); FP stays what this step found.
  fp=$FP
  case $s_action in reload | restart) ;; *) "keep_$F" || return 1 ;; esac
  FP=$fp
  # Short writes of a full disk show only here on some file systems.
  safe "$KT/fp"
  mv "$KT" "$KD" && safe "$R/former/$A"
}

# ledger_back KEPT: the ledger as it was when this was kept, the entry of a former name with it.
ledger_back() {
  if [ -f "$1/ledger" ]; then
    cp "$1/ledger" "$R/owned/$s_own.tmp" && mv "$R/owned/$s_own.tmp" "$R/owned/$s_own"
  else
    rm -f "$R/owned/$s_own"
  fi
  if [ -f "$1/was" ]; then
    cp "$1/was.ledger" "$R/owned/$(cat "$1/was").tmp" && mv "$R/owned/$(cat "$1/was").tmp" "$R/owned/$(cat "$1/was")"
  elif [ -f "$1/struck" ]; then
    rm -f "$R/owned/$(cat "$1/struck")"
  fi
}

# step_open: all checks, then the started mark. OPEN=1 when the change may be made.
step_open() {
  word
  not_now && return 0
  if [ -n "$s_from" ]; then
    [ -f "$R/former/$s_from/meta" ] || { refuse "this host keeps nothing from before step $s_from"; return 0; }
    # shellcheck disable=SC1090
    . "$R/former/$s_from/meta"
    word
  fi
  if [ "$s_kind" = line ] && [ -f "$R/owned/$s_own" ]; then
    o_old=$(awk -F'\t' '$1 == "O" { print $6; exit }' "$R/owned/$s_own")
  fi
  FP=''
  case $s_action in
    reload | restart) ;;
    *)
      look "$s_kind" "$s_key" || { refuse "$WHY"; return 0; }
      pin
      if [ "$s_cas" = 1 ] && [ "$FP" != "$PIN" ] && [ "$FP" != "$s_expect" ] && [ "$s_kind" != command ]; then
        # An undo that has run already finds its work done.
        if [ -z "$s_from" ] || [ "$FP" != "$(cat "$R/former/$s_from/fp")" ]; then ended "stale $FP"; return 0; fi
      fi
      ;;
  esac
  if [ "$s_action" = delete ] && [ ! -f "$R/owned/$s_own" ]; then
    refuse "$s_kind $s_key is not in this host's ledger of things that cutover made; it is left alone"
    return 0
  fi
  if [ "$s_risky" = 1 ] && [ -n "$ARM" ]; then
    arm || { refuse "the dead man's switch could not be armed: $WHY"; return 0; }
  fi
  say "started $s_id"
  BEFORE=$FP
  if ! store "$MD/$s_id.started" "$s_kind $s_key" || ! keep; then
    rm -rf "$R/former/$A/$s_id.tmp" "$MD/$s_id.started" "$MD/$s_id.started.tmp"
    refuse "the former state could not be kept on the host: is the disk full? Nothing was changed"
    return 0
  fi
  if [ "$s_risky" = 1 ] && [ -n "$ARM" ]; then
    printf '%s\n' "$s_id" >>"$R/armed/steps" && safe "$R/armed/steps"
  fi
  rm -f "$MD/$s_id.failed"
  OPEN=1
}

# Asked-for reloads are noted before the change: a kill in between may tell a service too often, never too seldom.
note_pending() {
  NOTED=''
  [ -n "$s_notify" ] || return 0
  printf '%s\n' "$s_notify" >"$R/tmp/notify" || return 1
  while read -r how service; do
    [ -n "$service" ] || continue
    case $(cat "$R/pending/$service" 2>/dev/null) in
      restart) continue ;;
      reload) [ "$how" = restart ] || continue ;;
      *) NOTED="$NOTED $service" ;;
    esac
    store "$R/pending/$service" "$how" || return 1
  done <"$R/tmp/notify"
}

change() {
  case $s_action in
    reload | restart) tell_service "$s_action" "$s_key" ;;
    delete) "drop_$F" ;;
    restore)
      KD="$R/former/$s_from"
      # Undone already: doing it again could only touch what others wrote since.
      [ "$FP" = "$(cat "$KD/fp")" ] || "restore_$F"
      ;;
    # Only the name is another: the thing itself is left alone.
    *) [ -n "$s_renames" ] || "do_$F" ;;
  esac
}

# part NAME: runs one of the functions above in a process of its own, which goes on when this one is killed, lock in hand.
part() { (trap - PIPE HUP; "$@"; exit $?) >"$R/tmp/out" 2>&1 </dev/null; }

step_close() {
  local rc out
  [ -n "$OPEN" ] || return 0
  KD="$R/former/$A/$s_id"
  if ! note_pending; then
    rm -f "$MD/$s_id.started"
    refuse "the reloads that it asks for could not be noted: is the disk full? Nothing was changed"
    return 0
  fi
  # In the ledger before the change: a thing half made must have an owner who mends or removes it.
  case $s_action in
    create | update | replace | run)
      store "$R/owned/$s_own" "$s_ledger" || { rm -f "$MD/$s_id.started"; refuse "the ledger cannot be written: is the disk full?"; return 0; }
      ;;
  esac
  rc=0
  [ -n "$GATHERED" ] || hold_pins
  part change || rc=$?
  [ -n "$GATHERED" ] || move_pins
  if [ "$rc" != 0 ]; then
    step_failed "$rc"
    return 0
  fi
  case $s_action in
    delete) rm -f "$R/owned/$s_own" ;;
    restore) ledger_back "$R/former/$s_from" ;;
    # The same thing under a former name: it has one entry.
    *) if [ -n "$s_was" ]; then rm -f "$R/owned/$s_was"; fi ;;
  esac
  case $s_action:$s_kind in
    re[ls]*) ;;
    *:line | *:setting | *:mail-account) "after_$F" "$KD" ;;
  esac
  out='done'
  case $s_action in
    reload | restart) ;;
    *)
      look "$s_kind" "$s_key" || { step_failed 1 "$WHY"; return 0; }
      if [ "$s_action" = restore ] && [ "$FP" != "$(cat "$R/former/$s_from/fp")" ]; then
        step_failed 1 "it should be as before ($(cat "$R/former/$s_from/fp")) but is: $FP"
        return 0
      fi
      [ "$s_action" = run ] || out="done $FP"
      ;;
  esac
  # No room for the mark: the outcome is unknown to whoever asks, and observed.
  store "$MD/$s_id" "$out" || exit 1
  DONE="$DONE$s_id "
  ended "$out"
}

# step_failed STATUS [TEXT]: puts back what was begun, says what could not be.
step_failed() {
  local text
  text=$(tail -c 4000 "$R/tmp/out" 2>/dev/null)
  [ -z "$2" ] || text="$2"
  case $s_action in
    reload | restart) ;;
    *)
      for service in $NOTED; do rm -f "$R/pending/$service"; done
      if look "$s_kind" "$s_key" && [ "$FP" != "$BEFORE" ]; then
        case $s_kind in
          command | package) text="$text${NL}left as: $FP" ;;
          *)
            part "restore_$F" || text="$text${NL}$(tail -c 1000 "$R/tmp/out")"
            look "$s_kind" "$s_key"
            [ "$FP" = "$BEFORE" ] || text="$text${NL}it was: $BEFORE${NL}it is now: $FP"
            ;;
        esac
      fi
      # What arrived in spite of the failure stays ours to mend.
      if [ -f "$KD/ledger" ]; then
        cp "$KD/ledger" "$R/owned/$s_own"
      elif [ "$FP" = "$BEFORE" ]; then
        case $s_action in delete) ;; *) rm -f "$R/owned/$s_own" ;; esac
      fi
      ;;
  esac
  text=$(printf '%s\n' "$text" | b64)
  store "$MD/$s_id.failed" "failed $1 $text"
  # A program may have printed the content that it was given.
  rm -f "$R/tmp/out"
  ended "failed $1 $text"
}

# step ID
step() {
  fresh_step
  "vars_$1"
  step_open
  step_close
}

# Packages that stand together are installed in one go; each step then finds its own there.
packages() {
  WORDS='' OPENED=' '
  for id in "$@"; do
    fresh_step
    "vars_$id"
    step_open
    [ -z "$OPEN" ] || WORDS="$WORDS $(package_word)" OPENED="$OPENED$id "
  done
  install_gathered
  for id in "$@"; do
    fresh_step
    "vars_$id"
    word
    case $OPENED in *" $id "*) ;; *) continue ;; esac
    OPEN=1
    BEFORE=$(cat "$R/former/$A/$id/fp")
    step_close
  done
  GATHERED=''
  move_pins
}
install_gathered() {
  GATHERED=1
  [ -n "$WORDS" ] || return 0
  fresh_step
  s_kind=package
  hold_pins
  # shellcheck disable=SC2086
  part apt_install $WORDS && return 0
  # Each step now tries alone, so that one bad name does not fail the others; a held lock was waited for already.
  if grep -q 'Could not get lock' "$R/tmp/out"; then PKG_WAIT=1; fi
}
GATHERED=''

# outcomes: what the marks say. A step that was begun but changed nothing was not begun.
outcomes() {
  local f id
  mkdir -p "$R/tmp" && lock run "$1" 9 || { say busy; exit 1; }
  for f in "$MD"/*; do
    id=${f##*/}
    case $id in
      *.tmp | '*') ;;
      *.started)
        id=${id%.started}
        [ ! -f "$MD/$id" ] || continue
        if [ -f "$MD/$id.failed" ]; then say "outcome $id $(cat "$MD/$id.failed")"
        elif unchanged "$id"; then :
        else say "outcome $id unknown"
        fi
        ;;
      *.failed) ;;
      *) say "outcome $id $(cat "$f")" ;;
    esac
  done
}
unchanged() {
  KD="$R/former/$A/$1"
  # The former state is kept before anything is touched.
  [ -f "$KD/fp" ] || return 0
  case $(cat "$KD/action") in reload | restart | run | restore) return 1 ;; esac
  (
    fresh_step
    # shellcheck disable=SC1091
    . "$KD/meta"
    former=$(cat "$KD/fp")
    if [ -f "$KD/raw" ]; then former=$(cat "$KD/raw") o_secret=0; fi
    look "$s_kind" "$s_key" && [ "$FP" = "$former" ]
  )
}
