# Files and folders: made beside their place, checked, then moved over it. All do_*, drop_* and restore_* functions run in
# a subshell: fail ends them. KD is the folder with the former state.

fail() {
  [ -z "$TMP" ] || rm -f -- "$TMP"
  printf '%s\n' "$*" >&2
  exit 1
}
# Runs a program that may leave something running: it must not inherit our lock.
x() { "$@" 7>&- 9>&-; }
# The same for a step that fails when the program does.
must() { x "$@" || fail "$1 failed with exit status $?"; }

place_of() {
  case $1 in
    unit | timer) PLACE=/etc/systemd/system/$2 ;;
    firewall) PLACE=/etc/nftables.d/$2.nft ;;
    dns-zone) PLACE=$o_path ;;
    mail-account) PLACE=$o_file ;;
    line) PLACE=${2%#*} ;;
    setting) PLACE=$MAINCF ;;
    *) PLACE=$2 ;;
  esac
}

# The content that came with the step.
content() {
  if [ -n "$c_blob" ]; then cat "$R/blobs/$c_blob"; else printf '%s' "$c_b64" | base64 -d; fi
}

# stage PLACE: opens TMP beside it, readable by us only. A former attempt's leftover goes.
stage() {
  [ -d "${1%/*}/" ] || fail "the folder ${1%/*} does not exist: let a directory resource or a package make it first"
  TMP=${1%/*}/.cutover-new.${1##*/}
  rm -f -- "$TMP"
  : >"$TMP" || fail "no file can be made in ${1%/*}"
}

# check_staged: the validate command, with the staged file in place of each %s.
check_staged() {
  [ -n "$a_validate" ] || return 0
  local v q out
  case $TMP in *"'"*) fail "a path with a quote cannot be validated" ;; esac
  v=$a_validate q=''
  while case $v in *%s*) true ;; *) false ;; esac; do
    q="$q${v%%%s*}'$TMP'"
    v=${v#*%s}
  done
  x timeout -k 5 120 sh -c "$q$v" || fail "the new content is refused by its check: $a_validate"
}

# commit PLACE: TMP takes its place, in one move, durably.
commit() {
  safe "$TMP"
  mv -f -- "$TMP" "$1" || fail "$1 cannot be replaced"
  TMP=''
  safe "${1%/*}/"
}

# put_file PLACE MODE: content, owner and mode as wished; what is not wished stays as it was.
put_file() {
  local owner group mode
  look_path "$1" || fail "$WHY"
  case $P_TYPE in directory | other) fail "$1 is not a regular file but a $P_TYPE; it is left alone" ;; esac
  owner=$a_owner group=$a_group mode=$a_mode
  if [ "$P_TYPE" = file ]; then : "${owner:=$P_OWNER}" "${group:=$P_GROUP}" "${mode:=$P_MODE}"; fi
  : "${owner:=root}" "${group:=root}" "${mode:=$2}"
  stage "$1"
  if [ "$c_set" = 1 ]; then
    content >"$TMP" || fail "$1 cannot be written: is the disk full?"
    if [ -n "$c_sum" ]; then
      digest "$TMP" || fail "$WHY"
      [ "$D" = "$c_sum" ] || fail "$1 was not written whole: is the disk full?"
    fi
    if [ -n "$SERIAL" ]; then
      content | sed "s/@SERIAL@/$SERIAL/" >"$TMP" || fail "$1 cannot be written: is the disk full?"
    fi
  else
    [ "$P_TYPE" = file ] || fail "no content came for $1"
    cat "$1" >"$TMP" || fail "$1 cannot be copied: is the disk full?"
  fi
  chown -- "$owner:$group" "$TMP" || fail "$1 cannot belong to $owner:$group"
  chmod -- "$mode" "$TMP" || fail "$1 cannot have mode $mode"
  check_staged
  commit "$1"
}

keep_place() {
  look_path "$1" || return 1
  case $P_TYPE in
    file | symlink) cp -a -- "$1" "$KT/content" && echo "$P_TYPE" >"$KT/type" ;;
    *) echo "$P_TYPE" >"$KT/type" ;;
  esac
}

# put_back PLACE: bytes, owner, mode, ACL and absence as they were kept.
put_back() {
  case $(cat "$KD/type") in
    file | symlink)
      stage "$1"
      rm -f -- "$TMP"
      cp -a -- "$KD/content" "$TMP" || fail "$1 cannot be put back: is the disk full?"
      mv -f -- "$TMP" "$1" || fail "$1 cannot be put back"
      TMP=''
      safe "${1%/*}/"
      ;;
    absent)
      look_path "$1" || fail "$WHY"
      case $P_TYPE in file | symlink) rm -f -- "$1" || fail "$1 cannot be removed" ;; esac
      ;;
    *) fail "$1 was no file before; it is left alone" ;;
  esac
}

do_file() { put_file "$s_key" 0644; }
drop_file() { rm -f -- "$s_key" || fail "$s_key cannot be removed"; }
keep_file() { keep_place "$s_key"; }
restore_file() { put_back "$s_key"; }

do_binary() { put_file "$s_key" 0755; }
drop_binary() { drop_file; }
keep_binary() { keep_file; }
restore_binary() { restore_file; }

do_directory() {
  local made owner group mode
  made=''
  look_path "$s_key" || fail "$WHY"
  case $P_TYPE in
    absent)
      mkdir -- "$s_key" || fail "$s_key cannot be made: does the folder above exist?"
      made=1
      ;;
    directory) ;;
    *) fail "$s_key is there but a $P_TYPE; it is left alone" ;;
  esac
  owner=$a_owner group=$a_group mode=$a_mode
  if [ -z "$made" ]; then : "${owner:=$P_OWNER}" "${group:=$P_GROUP}" "${mode:=$P_MODE}"; fi
  : "${owner:=root}" "${group:=root}" "${mode:=0755}"
  if ! chown -- "$owner:$group" "$s_key" || ! chmod -- "$mode" "$s_key"; then
    [ -z "$made" ] || rmdir -- "$s_key"
    fail "$s_key cannot have $owner:$group and mode $mode"
  fi
  safe "${s_key%/*}/"
}
# A folder in which others keep things stays; it is only no longer ours.
drop_directory() {
  [ -d "$s_key" ] || return 0
  rmdir -- "$s_key" 2>/dev/null || echo "$s_key is not empty and stays"
}
keep_directory() { :; }
restore_directory() {
  local former mode
  former=$(cat "$KD/fp")
  case $former in
    absent) [ ! -d "$s_key" ] || rmdir -- "$s_key" || fail "$s_key is not empty and stays" ;;
    'directory '*)
      former=${former#* }
      mode=${former%% *} former=${former#* }
      [ -d "$s_key" ] || mkdir -- "$s_key" || fail "$s_key cannot be made"
      chown -- "${former%% *}:${former#* }" "$s_key" || fail "$s_key cannot be given back to ${former%% *}"
      chmod -- "$mode" "$s_key" || fail "$s_key cannot have mode $mode"
      ;;
    *) fail "$s_key was no folder before" ;;
  esac
}

# rewrite PLACE: what stands on standard input takes the place of the file's text; owner, mode and ACL stay.
rewrite() {
  stage "$1"
  if [ -e "$1" ]; then
    rm -f -- "$TMP"
    cp -a -- "$1" "$TMP" || fail "$1 cannot be copied: is the disk full?"
  else
    chown -- "${a_owner:-root}:${a_group:-root}" "$TMP" || fail "$1 cannot belong to ${a_owner:-root}"
    chmod -- "${a_mode:-0644}" "$TMP" || fail "$1 cannot have its mode"
  fi
  cat >"$TMP" || fail "$1 cannot be written: is the disk full?"
}

# keep_whole PLACE / back_whole PLACE: the whole file goes back while nobody else has written to it since.
keep_whole() { keep_place "$1"; }
after_whole() { [ ! -f "$1" ] || sha256sum <"$1" >"$2/after"; }
back_whole() {
  case $(cat "$KD/type") in file | absent) ;; *) return 1 ;; esac
  [ -f "$KD/after" ] && [ -f "$1" ] && [ "$(sha256sum <"$1")" = "$(cat "$KD/after")" ] || return 1
  put_back "$1"
}

# change_line WANTED: replaces the line that look_line finds, or appends; "-" as wanted text removes it.
change_line() {
  local file found
  file=${s_key%#*}
  look_line "$s_key" || fail "$WHY"
  case $FP in 'line '*) found=${FP#line } ;; *) found='' ;; esac
  {
    printf '%s\n%s\n%s\n' "$1" "$found" "$FP" | awk '{ gsub(/%/, "%25"); gsub(/\t/, "%09"); print }'
    if [ -e "$file" ]; then cat "$file"; fi
  } | awk '
    function plain(s) { gsub(/%09/, "\t", s); gsub(/%25/, "%", s); return s }
    NR == 1 { want = plain($0); next }
    NR == 2 { found = plain($0); next }
    NR == 3 { present = ($0 != "absent"); next }
    present && !done && $0 == found { done = 1; if (want != "-") print want; next }
    { print }
    END { if (!present && want != "-") print want }' >"$R/tmp/line" || fail "$file cannot be read"
  rewrite "$file" <"$R/tmp/line"
  rm -f "$R/tmp/line"
  check_staged
  commit "$file"
}
do_line() { change_line "$a_line"; }
drop_line() { [ ! -e "${s_key%#*}" ] || change_line -; }
keep_line() { keep_whole "${s_key%#*}"; }
after_line() { after_whole "${s_key%#*}" "$1"; }
restore_line() {
  local former
  back_whole "${s_key%#*}" && return 0
  former=$(cat "$KD/fp")
  case $former in
    'line '*) change_line "${former#line }" ;;
    *) [ ! -e "${s_key%#*}" ] || change_line - ;;
  esac
}
