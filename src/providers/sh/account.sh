# Local users and groups.

do_group() {
  look_group "$s_key" || fail "$WHY"
  case $FP in
    absent)
      set --
      [ -z "$a_gid" ] || set -- "$@" -g "$a_gid"
      [ "$a_system" != true ] || set -- "$@" -r
      must groupadd "$@" -- "$s_key"
      ;;
    *) [ -z "$a_gid" ] || [ "$FP" = "group $a_gid" ] || must groupmod -g "$a_gid" -- "$s_key" ;;
  esac
}
drop_group() {
  look_group "$s_key" || fail "$WHY"
  case $FP in absent) ;; *) must groupdel -- "$s_key" ;; esac
}
keep_group() { :; }
restore_group() {
  local former
  former=$(cat "$KD/fp")
  look_group "$s_key" || fail "$WHY"
  case "$former" in
    absent) drop_group ;;
    "$FP") ;;
    *) a_gid=${former#group } a_system='' && do_group ;;
  esac
}

do_user() {
  look_user "$s_key" || fail "$WHY"
  set --
  [ -z "$a_uid" ] || set -- "$@" -u "$a_uid"
  [ -z "$a_group" ] || set -- "$@" -g "$a_group"
  [ "${a_groups-unset}" = unset ] || set -- "$@" -G "$a_groups"
  [ -z "$a_home" ] || set -- "$@" -d "$a_home"
  [ -z "$a_shell" ] || set -- "$@" -s "$a_shell"
  [ "${a_comment-unset}" = unset ] || set -- "$@" -c "$a_comment"
  case $FP in
    absent)
      [ "$a_system" != true ] || set -- "$@" -r
      if [ -z "$a_group" ]; then
        look_group "$s_key" || fail "$WHY"
        case $FP in absent) set -- "$@" -U ;; *) set -- "$@" -g "$s_key" ;; esac
      fi
      # Mail homes are directories of their own; useradd would fill them with dot files.
      must useradd -M "$@" -- "$s_key"
      ;;
    *) [ $# = 0 ] || must usermod "$@" -- "$s_key" ;;
  esac
}
# userdel takes the user's own group along, even one that was there before: it comes back.
drop_user() {
  local group
  look_user "$s_key" || fail "$WHY"
  case $FP in absent) return 0 ;; esac
  look_group "$s_key" || fail "$WHY"
  group=$FP
  must userdel -- "$s_key"
  look_group "$s_key" || fail "$WHY"
  case "$FP $group $1" in
    *' made-group') ;;
    'absent group '*) must groupadd -g "${group#group }" -- "$s_key" ;;
  esac
}
keep_user() {
  awk -F: -v k="$s_key" '$1 == k' /etc/passwd >"$KT/passwd" || return 1
  look_group "$s_key" || return 1
  printf '%s\n' "$FP" >"$KT/group"
}
restore_user() {
  local former line uid group list shell home comment
  former=$(cat "$KD/fp")
  case $former in
    absent)
      case $(cat "$KD/group") in absent) drop_user made-group ;; *) drop_user ;; esac
      return
      ;;
  esac
  line=$(cat "$KD/passwd")
  line=${line#*:} line=${line#*:}
  uid=${line%%:*} line=${line#*:} line=${line#*:}
  comment=${line%%:*} line=${line#*:}
  home=${line%%:*} shell=${line#*:}
  former=${former#* } former=${former#* }
  group=${former%% *} former=${former#* }
  list=${former%% *}
  [ "$list" != - ] || list=''
  look_user "$s_key" || fail "$WHY"
  set -- -o -u "$uid" -g "$group" -G "$list" -d "$home" -s "$shell" -c "$comment"
  case $FP in
    absent) must useradd -M "$@" -- "$s_key" ;;
    *) must usermod "$@" -- "$s_key" ;;
  esac
}
