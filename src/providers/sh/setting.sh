# Products' own settings: postconf, nftables, zone files, Dovecot passwd-files, commands.

do_setting() {
  command -v postconf >/dev/null 2>&1 || fail "there is no postconf on this host: install postfix first"
  must postconf -e "${s_key#postfix:} = $a_value"
}
drop_setting() { [ ! -e "$MAINCF" ] || must postconf -X "${s_key#postfix:}"; }
keep_setting() { keep_whole "$MAINCF"; }
after_setting() { after_whole "$MAINCF" "$1"; }
restore_setting() {
  local former
  back_whole "$MAINCF" && return 0
  former=$(cat "$KD/fp")
  case $former in
    'setting '*) a_value=${former#setting } && do_setting ;;
    setting) a_value='' && do_setting ;;
    *) drop_setting ;;
  esac
}

NFT_CONF=/etc/nftables.conf
NFT_INCLUDE='include "/etc/nftables.d/*.nft"'

# nft_load KEY [FILE]: the table is replaced in one transaction and its digest noted, so that a change by hand is seen.
nft_load() {
  {
    printf 'table inet %s {}\ndelete table inet %s\n' "$1" "$1"
    [ -z "$2" ] || cat "$2"
  } | x nft -f - || return 1
  nft_digest "$1"
  mkdir -p "$R/nft"
  if [ -n "$2" ]; then store "$R/nft/$1" "$N"; else rm -f "$R/nft/$1"; fi
}
do_firewall() {
  command -v nft >/dev/null 2>&1 || fail "there is no nft on this host: install nftables first"
  [ -d /etc/nftables.d ] || mkdir -m 0755 /etc/nftables.d || fail "/etc/nftables.d cannot be made"
  a_validate='nft -c -f %s'
  put_file "/etc/nftables.d/$s_key.nft" 0644
  if ! grep -qxF "$NFT_INCLUDE" "$NFT_CONF" 2>/dev/null; then
    { [ ! -e "$NFT_CONF" ] || cat "$NFT_CONF"; printf '%s\n' "$NFT_INCLUDE"; } >"$R/tmp/nft" || fail "$NFT_CONF cannot be read"
    a_mode=0755 rewrite "$NFT_CONF" <"$R/tmp/nft"
    commit "$NFT_CONF"
  fi
  nft_load "$s_key" "/etc/nftables.d/$s_key.nft" || fail "nft refuses the rules"
}
drop_firewall() {
  nft_load "$s_key" '' || fail "the rules cannot be taken out of the kernel"
  rm -f -- "/etc/nftables.d/$s_key.nft" || fail "the rules' file cannot be removed"
}
keep_firewall() {
  keep_place "/etc/nftables.d/$s_key.nft" || return 1
  if command -v nft >/dev/null 2>&1; then nft -s list table inet "$s_key" >"$KT/kernel" 2>/dev/null || rm -f "$KT/kernel"; fi
  [ ! -f "$R/nft/$s_key" ] || cp "$R/nft/$s_key" "$KT/noted"
  if grep -qxF "$NFT_INCLUDE" "$NFT_CONF" 2>/dev/null; then : >"$KT/included"; elif [ -e "$NFT_CONF" ]; then cp -a "$NFT_CONF" "$KT/conf"; fi
}
restore_firewall() {
  put_back "/etc/nftables.d/$s_key.nft"
  if [ -f "$KD/conf" ]; then
    # Our line was the only change: the file goes back as it was, when nobody else wrote to it.
    if [ "$( { cat "$KD/conf"; printf '%s\n' "$NFT_INCLUDE"; } | sha256sum)" = "$(sha256sum <"$NFT_CONF")" ] &&
      [ -z "$(find /etc/nftables.d -name '*.nft' | head -n 1)" ]; then
      cp -a "$KD/conf" "$NFT_CONF.cutover-new" && mv -f "$NFT_CONF.cutover-new" "$NFT_CONF" || fail "$NFT_CONF cannot be put back"
    fi
  fi
  if [ -f "$KD/kernel" ]; then
    nft_load "$s_key" "$KD/kernel" || fail "nft refuses the former rules"
  else
    nft_load "$s_key" '' || fail "the rules cannot be taken out of the kernel"
  fi
  if [ -f "$KD/noted" ]; then cp "$KD/noted" "$R/nft/$s_key"; else rm -f "$R/nft/$s_key"; fi
}

# The next serial: by date, never smaller than the one in use (RFC 1912 section 2.2).
next_serial() {
  local old
  SERIAL=$(date +%Y%m%d00)
  [ -f "$1" ] || return 0
  old=$(awk '/^[ \t]*[0-9]+[ \t]*; *serial/ { sub(/^[ \t]+/, ""); sub(/[^0-9].*/, ""); print; exit }' "$1")
  case $old in '') return 0 ;; esac
  [ "$old" -lt "$SERIAL" ] || SERIAL=$((old + 1))
}
tell_zone() { [ -z "$a_reload" ] || run_as root 120 "$a_reload" || fail "the name server refuses the zone: $a_reload"; }
do_zone() { next_serial "$o_path"; put_file "$o_path" 0644; tell_zone; }
drop_zone() { rm -f -- "$o_path" || fail "$o_path cannot be removed"; tell_zone; }
keep_zone() { keep_place "$o_path"; }
restore_zone() {
  case $(cat "$KD/type") in
    file)
      next_serial "$o_path"
      stage "$o_path"
      rm -f -- "$TMP"
      cp -a -- "$KD/content" "$TMP" || fail "$o_path cannot be put back: is the disk full?"
      awk "$ZONE_AWK" "$KD/content" | sed "s/@SERIAL@/$SERIAL/" >"$TMP" || fail "$o_path cannot be put back: is the disk full?"
      commit "$o_path"
      ;;
    *) put_back "$o_path" ;;
  esac
  tell_zone
}

# change_account LINE: the account's line becomes this one, or goes when it is empty. Nothing of it enters a command line.
change_account() {
  local fresh
  fresh=''
  [ -e "$o_file" ] || fresh=1
  {
    printf '%s\n%s\n' "$s_key" "$1"
    [ -n "$fresh" ] || cat "$o_file"
  } | awk -F: '
    NR == 1 { key = $0; next }
    NR == 2 { line = $0; next }
    $1 == key { if (!done && line != "") print line; done = 1; next }
    { print }
    END { if (!done && line != "") print line }' >"$R/tmp/accounts" || fail "$o_file cannot be read"
  if [ -n "$fresh" ]; then
    # Password hashes: for root and Dovecot's login process only.
    a_owner=root a_group=root a_mode=0600
    if grep -q '^dovecot:' /etc/group; then a_group=dovecot a_mode=0640; fi
  fi
  rewrite "$o_file" <"$R/tmp/accounts"
  rm -f "$R/tmp/accounts"
  commit "$o_file"
}
do_account() {
  local former pass extra
  former=''
  [ ! -e "$o_file" ] || former=$(awk -F: -v k="$s_key" '$1 == k { print; exit }' "$o_file")
  # What is not wished stays as it was, the extra fields of others too.
  former="${former#*:}:::::::"
  pass=${former%%:*} former=${former#*:}
  : "${a_uid=${former%%:*}}"
  former=${former#*:}
  : "${a_gid=${former%%:*}}"
  former=${former#*:} former=${former#*:}
  : "${a_home=${former%%:*}}"
  former=${former#*:} former=${former#*:}
  extra=''
  case $former in
    *[!:]*)
      while case $former in *:) true ;; *) false ;; esac; do former=${former%:}; done
      extra=$former
      ;;
  esac
  if [ "${a_quota+set}" = set ]; then
    former=$extra extra=''
    set -f
    for former in $former; do
      case $former in 'userdb_quota_rule=*:bytes='*) ;; *) extra="$extra${extra:+ }$former" ;; esac
    done
    set +f
    [ -z "$a_quota" ] || extra="$extra${extra:+ }userdb_quota_rule=*:bytes=$a_quota"
  fi
  if [ "$c_set" = 1 ]; then pass=$(content); fi
  case $pass in *:* | *"$NL"*) fail "the password field of $s_key holds a colon or a line break" ;; esac
  change_account "$s_key:$pass:$a_uid:$a_gid::$a_home::$extra"
}
drop_account() { [ ! -e "$o_file" ] || change_account ''; }
keep_account() { keep_whole "$o_file" && { [ ! -e "$o_file" ] || awk -F: -v k="$s_key" '$1 == k { print; exit }' "$o_file" >"$KT/line"; }; }
after_account() { after_whole "$o_file" "$1"; }
restore_account() {
  back_whole "$o_file" && return 0
  if [ -s "$KD/line" ]; then change_account "$(cat "$KD/line")"; else drop_account; fi
}

# A command and the memory of it are one process: killing the script around it does not part them.
do_command() {
  local rc
  [ -n "$o_creates$o_unless$o_once" ] || fail "a command without creates=, unless= or once= is not run"
  # A package or a step before it may have seen to it.
  if condition; then return 0; fi
  mkdir -p "$R/once"
  rc=0
  run_as "${o_user:-root}" "${a_timeout:-300}" "$a_run" || rc=$?
  [ "$rc" = 0 ] || { [ "$rc" != 124 ] || echo "it took longer than ${a_timeout:-300} s" >&2; exit "$rc"; }
  [ -z "$o_once" ] || store "$R/once/$o_once" ran || fail "the run could not be noted: is the disk full?"
  condition || fail "the command ran without error, but its condition still does not hold"
}
drop_command() { undo_command; }
keep_command() { :; }
undo_command() {
  if [ -n "$a_undo" ]; then run_as "${o_user:-root}" "${a_timeout:-300}" "$a_undo" || fail "the command's undo failed"; fi
  [ -z "$o_once" ] || rm -f "$R/once/$o_once"
}
restore_command() {
  case $(cat "$KD/fp") in *' satisfied') return 0 ;; esac
  [ -n "$a_undo" ] || fail "the command names no undo"
  undo_command
}
