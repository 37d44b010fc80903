# Debian packages by apt. Services that a package starts are left to systemd.

apt() {
  DEBIAN_FRONTEND=noninteractive DEBIAN_PRIORITY=critical APT_LISTCHANGES_FRONTEND=none NEEDRESTART_SUSPEND=1 \
    x apt-get -q -y -o "DPkg::Lock::Timeout=$PKG_WAIT" -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@"
}

# Lists older than a day, or none, or a package that they do not name: fetch them. When that fails, known packages still go.
fresh_lists() {
  local known
  if [ -n "$(find /var/lib/apt/lists -maxdepth 1 -type f -name '*Packages*' 2>/dev/null | head -n 1)" ] &&
    [ -n "$(find /var/lib/apt/lists "$R/apt-lists" -maxdepth 0 -mmin -1440 2>/dev/null | head -n 1)" ]; then
    known=1
    for p in "$@"; do
      p=${p%%=*}
      apt-cache show --no-all-versions "$p" >/dev/null 2>&1 || known=''
    done
    [ -z "$known" ] || return 0
    [ -z "$(find "$R/apt-lists" -maxdepth 0 -mmin -5 2>/dev/null)" ] || return 0
  fi
  apt update && : >"$R/apt-lists"
}

# apt_install PACKAGE[=VERSION]...
apt_install() {
  local more
  more=--no-install-recommends
  [ "$a_recommends" != true ] || more=--install-recommends
  fresh_lists "$@" || echo "the package lists could not be fetched"
  apt install "$more" --allow-downgrades --allow-change-held-packages -- "$@" && return 0
  # A dpkg that died half way (a kill, a reboot) says so; it is finished first.
  [ -n "$(dpkg --audit 2>/dev/null)" ] || [ -n "$(find /var/lib/dpkg/updates -type f 2>/dev/null | head -n 1)" ] || return 1
  DEBIAN_FRONTEND=noninteractive x dpkg --force-confdef --force-confold --configure -a
  apt install "$more" --allow-downgrades --allow-change-held-packages -- "$@"
}

package_word() { printf '%s' "$s_key"; [ -z "$a_version" ] || printf '=%s' "$a_version"; }

# lock_holder: who holds dpkg's lock, for people.
lock_holder() {
  local pid
  for pid in $(fuser /var/lib/dpkg/lock-frontend 2>/dev/null); do
    echo "dpkg's lock is held by process $pid ($(tr '\000' ' ' <"/proc/$pid/cmdline"))"
  done
}

do_package() {
  look_package "$s_key" || fail "$WHY"
  case $FP in
    package*) [ -z "$a_version" ] || [ "$P_VERSION" = "$a_version" ] || FP=other ;;
  esac
  case $FP in
    'package '*) ;;
    *) apt_install "$(package_word)" || { lock_holder; fail "apt-get could not install $(package_word)"; } ;;
  esac
  case $a_hold in
    true) must apt-mark -q hold "$s_key" ;;
    false) [ "$P_WANT" != hold ] || must apt-mark -q unhold "$s_key" ;;
  esac
  look_package "$s_key" || fail "$WHY"
  case $FP in 'package '*) ;; *) fail "$s_key is not installed after apt-get: $FP" ;; esac
}

# Only the package itself: what would go with it belongs to others.
drop_package() {
  local going others p
  look_package "$s_key" || fail "$WHY"
  case $FP in absent) return 0 ;; esac
  going=$(x apt-get -q -s -y --allow-change-held-packages remove -- "$s_key" 2>&1) || fail "apt-get cannot remove $s_key: $going"
  others=''
  for p in $(printf '%s\n' "$going" | awk '$1 == "Remv" { print $2 }'); do
    case " $s_key $PKG_GONE " in *" $p "*) ;; *) others="$others $p" ;; esac
  done
  [ -z "$others" ] || fail "to remove $s_key would take$others with it; they are not named here, so nothing is removed"
  apt --allow-change-held-packages remove -- "$s_key" || { lock_holder; fail "apt-get could not remove $s_key"; }
}

keep_package() { printf '%s\n%s\n' "$P_VERSION" "$P_WANT" >"$KT/version"; }
restore_package() {
  local version want
  version=$(sed -n 1p "$KD/version") want=$(sed -n 2p "$KD/version")
  case $(cat "$KD/fp") in
    'package '*)
      look_package "$s_key" || fail "$WHY"
      # A removed package still has a version while its configuration files stay.
      case $FP in 'package '*) ;; *) P_VERSION='' ;; esac
      [ "$P_VERSION" = "$version" ] || apt_install "$s_key=$version" || fail "$s_key $version is no longer to be had"
      case $want in
        hold) must apt-mark -q hold "$s_key" ;;
        *) must apt-mark -q unhold "$s_key" ;;
      esac
      ;;
    *) drop_package ;;
  esac
}
