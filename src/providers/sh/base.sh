# Ground of every script. Set before: M marker of our lines, R state folder of the organisation on this host.
# Plain POSIX sh and `local`: dash, bash and busybox run it.
LC_ALL=C
PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH"
export LC_ALL PATH
unset CDPATH ENV BASH_ENV
umask 077
cd /
# When the controller is gone, the step under way ends and is marked; only the next one does not start.
trap '' PIPE HUP
TAB='	'
NL='
'

# A line for the controller. Nobody listens any more: stop.
say() { printf '%s %s\n' "$M" "$*" 2>/dev/null || exit 1; }

b64() { base64 | tr -d '\n'; }

# Marks and ledger must outlive a power cut. Old tools cannot sync one file.
safe() { sync "$1" 2>/dev/null || sync; }

# store FILE TEXT: replaces a small file of ours, whole or not at all.
store() { printf '%s\n' "$2" >"$1.tmp" && safe "$1.tmp" && mv -f "$1.tmp" "$1" && safe "${1%/*}"; }

# lock NAME SECONDS DESCRIPTOR: one script at a time; given up by the kernel when the script and its step have ended.
lock() {
  local left
  left=$(($2 * 5))
  if command -v flock >/dev/null 2>&1; then
    eval "exec $3>\"\$R/$1.lock\"" || return 1
    while ! flock -n "$3"; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || return 1
      sleep 0.2
    done
  else
    while ! mkdir "$R/$1.lockdir" 2>/dev/null; do
      if [ -s "$R/$1.lockdir/pid" ] && ! kill -0 "$(cat "$R/$1.lockdir/pid")" 2>/dev/null; then
        rm -rf "$R/$1.lockdir"
        continue
      fi
      left=$((left - 1))
      [ "$left" -gt 0 ] || return 1
      sleep 0.2
    done
    echo $$ >"$R/$1.lockdir/pid"
    LOCKS="$LOCKS $R/$1.lockdir"
    trap 'rm -rf $LOCKS' EXIT
  fi
}

# Fields of the lease: token, holder, apply, since, last heartbeat.
read_lease() {
  L_TOKEN=0 L_HOLDER='' L_APPLY='' L_SINCE=0 L_BEAT=0
  [ -f "$R/lease" ] || return 0
  local line
  line=$(cat "$R/lease") || return 1
  L_TOKEN=${line%%"$TAB"*} line=${line#*"$TAB"}
  L_HOLDER=${line%%"$TAB"*} line=${line#*"$TAB"}
  L_APPLY=${line%%"$TAB"*} line=${line#*"$TAB"}
  L_SINCE=${line%%"$TAB"*} L_BEAT=${line#*"$TAB"}
}

say begin
