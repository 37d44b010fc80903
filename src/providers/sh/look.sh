# The state of one resource, as one line of text: its fingerprint. The batched look prints the same facts for many; the
# controller makes the same line of them. look KIND KEY sets FP, or WHY and fails. Inputs: o_* (see the controller).

why() { WHY="$*"; return 1; }

# look_path PATH: P_TYPE P_MODE P_OWNER P_GROUP. What cannot be looked at is never taken for absent.
look_path() {
  local s
  if s=$(stat -c '%f %a %U %G' -- "$1" 2>&1); then
    case $s in
      8???' '*) P_TYPE=file ;;
      4???' '*) P_TYPE=directory ;;
      a???' '*) P_TYPE=symlink ;;
      *) P_TYPE=other ;;
    esac
    s=${s#* }
    P_MODE=$(printf '%04d' "${s%% *}") s=${s#* }
    P_OWNER=${s%% *} P_GROUP=${s#* }
  else
    case $s in
      *': No such file or directory' | *': Not a directory') P_TYPE=absent P_MODE='' P_OWNER='' P_GROUP='' ;;
      *) why "$1 cannot be looked at: $s" ;;
    esac
  fi
}

# digest FILE -> D
digest() {
  D=$(sha256sum <"$1") || { why "$1 cannot be read"; return 1; }
  D=${D%% *}
}

# mask: D -> digest that tells nothing of a weak secret.
mask() {
  D=$(printf '%s:%s' "$K" "$D" | sha256sum)
  D=${D%% *}
}

look_content() {
  look_path "$1" || return 1
  case $P_TYPE in
    absent) FP=absent ;;
    file)
      digest "$1" || return 1
      [ "$o_secret" != 1 ] || mask
      FP="file $P_MODE $P_OWNER $P_GROUP $D"
      ;;
    symlink) FP="symlink $P_OWNER $P_GROUP $(readlink "$1")" ;;
    directory) FP="directory $P_MODE $P_OWNER $P_GROUP" ;;
    other) FP="other $P_OWNER $P_GROUP" ;;
  esac
}

look_directory() {
  look_path "$1" || return 1
  case $P_TYPE in
    absent) FP=absent ;;
    directory | file) FP="$P_TYPE $P_MODE $P_OWNER $P_GROUP" ;;
    symlink) FP="symlink $P_OWNER $P_GROUP $(readlink "$1")" ;;
    other) FP="other $P_OWNER $P_GROUP" ;;
  esac
}

PKG_FORMAT='${Package}\t${Architecture}\t${Version}\t${db:Status-Status}\t${db:Status-Want}\n'

look_package() {
  local s v
  command -v dpkg-query >/dev/null 2>&1 || { why "there is no dpkg on this host"; return 1; }
  s=$(dpkg-query -W -f "$PKG_FORMAT" -- "$1" 2>/dev/null | head -n 1)
  P_VERSION='' P_STATUS='' P_WANT=''
  case $s in '') FP=absent; return 0 ;; esac
  s=${s#*"$TAB"} s=${s#*"$TAB"}
  P_VERSION=${s%%"$TAB"*} s=${s#*"$TAB"}
  P_STATUS=${s%%"$TAB"*} P_WANT=${s#*"$TAB"}
  case $P_WANT in hold) v=hold ;; *) v=free ;; esac
  case $P_STATUS in
    installed | triggers-pending | triggers-awaited) FP="package $P_VERSION $v" ;;
    not-installed | config-files) FP=absent ;;
    *) FP="broken $P_STATUS $P_VERSION" ;;
  esac
}

look_group() {
  local s
  s=$(awk -F: -v k="$1" '$1 == k { print; exit }' /etc/group) || { why "/etc/group cannot be read"; return 1; }
  case $s in '') FP=absent; return 0 ;; esac
  s=${s#*:} s=${s#*:}
  FP="group ${s%%:*}"
}

# One line: uid, primary group, groups (sorted, commas), shell, home, comment.
USER_AWK='
  FNR == NR { if (!($3 in name)) name[$3] = $1
    n = split($4, m, ","); for (i = 1; i <= n; i++) if (m[i] == k) extra[++e] = $1; next }
  $1 == k { primary = ($4 in name) ? name[$4] : $4
    for (i = 1; i <= e; i++) for (j = i + 1; j <= e; j++) if (extra[j] < extra[i]) { t = extra[i]; extra[i] = extra[j]; extra[j] = t }
    for (i = 1; i <= e; i++) list = list (i > 1 ? "," : "") extra[i]
    print "user " $3 " " primary " " (list == "" ? "-" : list) " " $7 " " $6 " " $5; exit }'

look_user() {
  FP=$(awk -F: -v k="$1" "$USER_AWK" /etc/group /etc/passwd) || { why "/etc/passwd cannot be read"; return 1; }
  case $FP in '') FP=absent ;; esac
}

# Items: key, prefix, wanted line, line of the ledger; %09 and %25 stand for tab and percent. Prints y, n or e, key and
# the line found: the first with the prefix, else the wanted one, else the one that the ledger knows.
LINE_AWK='
  function plain(s) { if (s == "-") return ""; gsub(/%09/, "\t", s); gsub(/%25/, "%", s); return s }
  { key = $1; path = key; sub(/#[^#]*$/, "", path); p = plain($2); w = plain($3); o = plain($4)
    found = ""; best = 0; while ((r = (getline l < path)) > 0) {
      if (p != "") { if (best < 3 && index(l, p) == 1) { found = l; best = 3 } }
      else if (best < 2 && l == w) { found = l; best = 2 }
      else if (best < 1 && o != "" && l == o) { found = l; best = 1 } }
    if (r >= 0) close(path)
    if (r < 0) print "e\t" key; else if (best) print "y\t" key "\t" found; else print "n\t" key }'

look_line() {
  local s
  look_path "${1%#*}" || return 1
  case $P_TYPE in absent) FP=absent; return 0 ;; esac
  s=$(printf '%s\t%s\t%s\t%s\n' "$1" "${o_prefix:--}" "${o_line:--}" "${o_old:--}" | awk -F'\t' "$LINE_AWK")
  case $s in
    y"$TAB"*) s=${s#*"$TAB"} FP="line ${s#*"$TAB"}" ;;
    n"$TAB"*) FP=absent ;;
    *) why "${1%#*} cannot be read" ;;
  esac
}

# What is written in main.cf, one logical line each; the last of a name counts.
MAINCF_AWK='
  /^[ \t]*(#|$)/ { next }
  /^[ \t]/ { sub(/^[ \t]+/, ""); sub(/[ \t]+$/, ""); if (name != "") value[name] = value[name] (value[name] == "" ? "" : " ") $0; next }
  { i = index($0, "="); if (!i) { name = ""; next }
    name = substr($0, 1, i - 1); sub(/[ \t]+$/, "", name); v = substr($0, i + 1); sub(/^[ \t]+/, "", v); sub(/[ \t]+$/, "", v)
    if (!(name in value)) order[++n] = name; value[name] = v }
  END { for (i = 1; i <= n; i++) print order[i] "\t" value[order[i]] }'
MAINCF=/etc/postfix/main.cf

look_setting() {
  local s
  case $1 in postfix:?*) ;; *) why "no product of setting $1 is known here: only postfix:NAME"; return 1 ;; esac
  look_path "$MAINCF" || return 1
  case $P_TYPE in absent) FP=absent; return 0 ;; esac
  s=$(awk "$MAINCF_AWK" "$MAINCF") || { why "$MAINCF cannot be read"; return 1; }
  FP=$(printf '%s\n' "$s" | awk -F'\t' -v k="${1#postfix:}" '$1 == k { print "setting " substr($0, length(k) + 2); exit }')
  case $FP in '') FP=absent ;; esac
}

unit_name() { case $1 in *.service | *.socket | *.timer | *.target | *.path | *.mount) U=$1 ;; *) U=$1.service ;; esac; }

# look_unit NAME: U_LOAD U_ENABLED (enabled disabled masked) U_RUNNING (running stopped)
look_unit() {
  local s line
  s=$(systemctl show -p LoadState,ActiveState,UnitFileState -- "$1" 2>&1) || { why "systemd does not answer: $s"; return 1; }
  U_LOAD='' U_ENABLED=disabled U_RUNNING=stopped
  while [ -n "$s" ]; do
    line=${s%%"$NL"*}
    case $s in *"$NL"*) s=${s#*"$NL"} ;; *) s='' ;; esac
    case $line in
      LoadState=*) U_LOAD=${line#*=} ;;
      ActiveState=active | ActiveState=reloading) U_RUNNING=running ;;
      UnitFileState=enabled | UnitFileState=static | UnitFileState=alias | UnitFileState=generated) U_ENABLED=enabled ;;
      UnitFileState=masked*) U_ENABLED=masked ;;
    esac
  done
  [ -n "$U_LOAD" ] || why "systemd says nothing of $1"
}

look_service() {
  unit_name "$1"
  look_unit "$U" || return 1
  case $U_LOAD in not-found) FP=absent ;; *) FP="service $U_ENABLED $U_RUNNING" ;; esac
}

look_timer() {
  look_content "/etc/systemd/system/$1" || return 1
  case $FP in absent) return 0 ;; esac
  look_unit "$1" || return 1
  FP="timer $U_ENABLED $U_RUNNING $FP"
}

# A hex name for a text, for files of ours.
hash_name() {
  H=$(printf '%s' "$1" | sha256sum)
  H=${H%% *}
}

# Does the condition of a command hold? o_creates, o_unless, o_once (a hash), o_user.
condition() {
  if [ -n "$o_creates" ] && [ -e "$o_creates" ]; then return 0; fi
  if [ -n "$o_once" ] && [ -f "$R/once/$o_once" ]; then return 0; fi
  [ -n "$o_unless" ] || return 1
  run_as "${o_user:-root}" 60 "$o_unless" >/dev/null 2>&1 </dev/null
}

# run_as USER SECONDS COMMAND. The lock stays with the caller, so that a daemon started here does not hold it for ever.
run_as() {
  local u t
  u=$1 t=$2
  shift 2
  case $u in
    root | "$(id -un)") timeout -k 5 "$t" sh -c "$1" 7>&- 9>&- ;;
    *) timeout -k 5 "$t" runuser -u "$u" -- sh -c "$1" 7>&- 9>&- ;;
  esac
}

look_command() { if condition; then FP='command satisfied'; else FP='command unsatisfied'; fi; }

# nft_digest TABLE -> N: digest of what the kernel holds, without counters; elements that the kernel adds itself left out.
nft_digest() {
  local s terse
  terse=''
  case $(nft -s list table inet "$1" 2>/dev/null) in *dynamic* | *timeout*) terse=-t ;; esac
  # shellcheck disable=SC2086
  if s=$(nft -s $terse list table inet "$1" 2>/dev/null); then
    N=$(printf '%s\n' "$s" | sha256sum)
    N=${N%% *}
  else
    N=absent
  fi
}

# loaded KEY -> F_LOADED: the kernel still holds what was loaded from the file.
loaded() {
  F_LOADED=unloaded
  command -v nft >/dev/null 2>&1 || return 0
  nft_digest "$1"
  case $N in absent) return 0 ;; esac
  if [ -f "$R/nft/$1" ] && [ "$(cat "$R/nft/$1")" != "$N" ]; then return 0; fi
  F_LOADED=loaded
}

look_firewall() {
  look_content "/etc/nftables.d/$1.nft" || return 1
  loaded "$1"
  case "$FP $F_LOADED" in 'absent unloaded') FP=absent ;; *) FP="firewall $F_LOADED $FP" ;; esac
}

# The first number before `; serial` is the serial and not compared.
ZONE_AWK='!done && /^[ \t]*[0-9]+[ \t]*; *serial/ { sub(/[0-9]+/, "@SERIAL@"); done = 1 } { print }'

look_zone() {
  look_path "$1" || return 1
  case $P_TYPE in
    absent) FP=absent ;;
    file)
      D=$(awk "$ZONE_AWK" "$1" | sha256sum)
      D=${D%% *}
      [ "$o_secret" != 1 ] || mask
      FP="file $P_MODE $P_OWNER $P_GROUP $D"
      ;;
    *) look_content "$1" ;;
  esac
}

look_account() {
  local s rest pass uid gid home quota
  look_path "$o_file" || return 1
  case $P_TYPE in absent) FP=absent; return 0 ;; esac
  s=$(awk -F: -v k="$1" '$1 == k { print; exit }' "$o_file") || { why "$o_file cannot be read"; return 1; }
  case $s in '') FP=absent; return 0 ;; esac
  rest="${s#*:}:::::::"
  pass=${rest%%:*} rest=${rest#*:}
  uid=${rest%%:*} rest=${rest#*:}
  gid=${rest%%:*} rest=${rest#*:} rest=${rest#*:}
  home=${rest%%:*}
  quota=''
  case $s in
    *'userdb_quota_rule=*:bytes='*) quota=${s#*'userdb_quota_rule=*:bytes='} quota=${quota%%[!0-9]*} ;;
  esac
  D=$(printf '%s' "$pass" | sha256sum)
  D=${D%% *}
  [ "$o_secret" != 1 ] || mask
  FP="mail-account $D ${uid:--} ${gid:--} ${quota:--} $home"
}

look() {
  WHY=''
  case $1 in
    file | binary) look_content "$2" ;;
    unit) look_content "/etc/systemd/system/$2" ;;
    directory) look_directory "$2" ;;
    package) look_package "$2" ;;
    group) look_group "$2" ;;
    user) look_user "$2" ;;
    line) look_line "$2" ;;
    setting) look_setting "$2" ;;
    service) look_service "$2" ;;
    timer) look_timer "$2" ;;
    command) look_command ;;
    firewall) look_firewall "$2" ;;
    dns-zone) look_zone "$o_path" ;;
    mail-account) look_account "$2" ;;
    *) why "no kind $1" ;;
  esac
}
