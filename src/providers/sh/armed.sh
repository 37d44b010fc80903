# The dead man's switch: unless somebody says over a new connection that the host can still be reached, it puts back the
# risky steps of an apply by itself: after ARM seconds (a timer), and at once after a reboot (a boot unit).
# Set before: A apply, UNIT name of the units, REVERT the script that reverts.

UNITS=/etc/systemd/system

arm() {
  if [ -f "$R/armed/apply" ]; then
    [ "$(cat "$R/armed/apply")" != "$A" ] || return 0
    WHY="that of apply $(cat "$R/armed/apply") is still armed; it reverts by itself, try again after that"
    return 1
  fi
  WHY="its files cannot be written: is the disk full?"
  rm -rf "$R/armed"
  mkdir "$R/armed" && : >"$R/armed/steps" && printf '%s\n' "$REVERT" >"$R/armed/revert.sh" || return 1
  cat >"$UNITS/$UNIT.service" <<END || return 1
[Unit]
Description=cutover puts back what apply $A changed: nobody confirmed that this host can still be reached
DefaultDependencies=no
After=local-fs.target systemd-remount-fs.service
Before=network-pre.target nftables.service networking.service systemd-networkd.service systemd-resolved.service ssh.service sshd.service
ConditionPathExists=$R/armed/apply

[Service]
Type=oneshot
ExecStart=/bin/sh $R/armed/revert.sh

[Install]
WantedBy=multi-user.target
END
  cat >"$UNITS/$UNIT.timer" <<END || return 1
[Unit]
Description=waits for the word that this host can still be reached

[Timer]
OnActiveSec=$ARM
AccuracySec=500ms
END
  chmod 0644 "$UNITS/$UNIT.service" "$UNITS/$UNIT.timer"
  store "$R/armed/apply" "$A" || return 1
  if start_units >"$R/armed/out" 2>&1; then
    sync
    say armed
    return 0
  fi
  WHY="systemd refuses its units: $(tail -n 2 "$R/armed/out")"
  unarm
  return 1
}

start_units() {
  systemctl daemon-reload && systemctl enable -q "$UNIT.service" && systemctl start "$UNIT.timer" &&
    systemctl is-active -q "$UNIT.timer"
}

# Taking the apply's name away is the moment that counts; the rest is tidying.
unarm() {
  rm -f "$R/armed/apply"
  safe "$R/armed"
  systemctl stop "$UNIT.timer"
  systemctl disable -q "$UNIT.service"
  rm -f "$UNITS/$UNIT.service" "$UNITS/$UNIT.timer"
  systemctl daemon-reload
  rm -rf "$R/armed"
} >/dev/null 2>&1

disarm() {
  lock armed 90 7 || { say busy; return; }
  if [ -f "$R/armed/apply" ] && [ "$(cat "$R/armed/apply")" = "$A" ]; then
    unarm
    say disarmed
  elif [ -f "$R/reverted/$A" ]; then
    say reverted
  else
    say disarmed
  fi
}

# revert: runs on the host alone.
revert() {
  local id
  lock armed 60 7
  [ -f "$R/armed/apply" ] || exit 0
  mkdir -p "$R/reverted" "$R/tmp"
  # A batch that still runs starts no further step; the one under way is given some time.
  store "$R/reverted/$A" "$(date)"
  lock run 20 9
  case $(systemctl is-system-running 2>/dev/null) in initializing | starting) NO_BLOCK=--no-block ;; esac
  systemctl daemon-reload
  SERVICES=''
  for id in $(sed '1!G;h;$!d' "$R/armed/steps"); do
    KD="$R/former/$A/$id"
    [ -f "$KD/meta" ] || continue
    fresh_step
    s_id=$id
    # shellcheck disable=SC1090
    . "$KD/meta"
    word
    SERVICES="$SERVICES$NL$(cat "$KD/notify")"
    case $(cat "$KD/action") in
      reload | restart) SERVICES="$SERVICES${NL}restart $s_key" ;;
      *)
        part "restore_$F" || { say "could not restore $s_kind $s_key"; cat "$R/tmp/out"; }
        ledger_back "$KD"
        ;;
    esac
    store "$MD/$id" reverted
  done
  printf '%s\n' "$SERVICES" | sort -u | while read -r how service; do
    [ -z "$service" ] || part tell_service "$how" "$service" || { say "could not $how $service"; cat "$R/tmp/out"; }
  done
  unarm
  say reverted
}
