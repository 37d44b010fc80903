# All resources of a host at once: a few tools run over everything, none per resource. Writes nothing.
# Set before: W wanted items, one a line: kind, key, flags, up to four inputs, with tabs between.
# Flags: t text is wanted when the digest differs from the first input, - nothing.

put() { sed "s/^/$M $1 /"; }
# rows KIND...: the items of these kinds.
rows() { printf '%s\n' "$ALL" | awk -F'\t' -v k=" $* " 'index(k, " " $1 " ")'; }
zeros() { tr '\n' '\000'; }

say uid "$(id -u)"
say os "$( (. /etc/os-release && printf '%s %s' "$ID" "$VERSION_ID") 2>/dev/null)"
say hostname "$(uname -n)"
say arch "$(uname -m)"

LEDGER=''
if [ -d "$R/owned" ]; then
  LEDGER=$(find "$R/owned" -type f ! -name '*.tmp' -exec cat {} +) || exit 1
fi
if [ -n "$LEDGER" ]; then
  printf '%s\n' "$LEDGER" | sed -n "s/^J$TAB/$M own /p"
fi
# Wanted items win over the ledger's; of a line the ledger still tells the former text.
ALL=$(printf '%s\n%s\n' "$LEDGER" "$W" | awk -F'\t' '
  $1 == "O" { k = $2 FS $3; sub(/^O\t/, ""); if (!(k in old)) keys[++n] = k; old[k] = $0; next }
  $1 == "J" || $0 == "" { next }
  { k = $1 FS $2; seen[k] = 1; if ($1 == "line" && k in old) { split(old[k], f, FS); print $0 FS f[5] } else print }
  END { for (i = 1; i <= n; i++) if (!(keys[i] in seen)) print old[keys[i]] }')

# Everything that lies at a path.
PATHS=$(printf '%s\n' "$ALL" | awk -F'\t' '
  $1 == "file" || $1 == "binary" || $1 == "directory" { print $2 }
  $1 == "unit" || $1 == "timer" { print "/etc/systemd/system/" $2 }
  $1 == "firewall" { print "/etc/nftables.d/" $2 ".nft" }
  $1 == "dns-zone" { print $5 }
  $1 == "mail-account" { print $4 }
  $1 == "line" { p = $2; sub(/#[^#]*$/, "", p); print p }
  $1 == "setting" { print "/etc/postfix/main.cf" }' | sort -u)
if [ -n "$PATHS" ]; then
  STAT=$(printf '%s\n' "$PATHS" | zeros | xargs -0 stat -c '%f %a %U %G %s %n' -- 2>/dev/null)
  printf '%s\n' "$STAT" | put st
  MISSING=$(printf '%s\n\n%s\n' "$STAT" "$PATHS" | awk '
    !second && $0 == "" { second = 1; next }
    !second { p = $0; for (i = 0; i < 5; i++) sub(/^[^ ]* /, "", p); seen[p] = 1; next }
    $0 != "" && !($0 in seen)')
  if [ -n "$MISSING" ]; then
    printf '%s\n' "$MISSING" | zeros | xargs -0 stat -c %n -- 2>&1 >/dev/null | put no
  fi
  LINKS=$(printf '%s\n' "$STAT" | sed -n 's/^a... [^ ]* [^ ]* [^ ]* [^ ]* //p')
  if [ -n "$LINKS" ]; then
    printf '%s\n' "$LINKS" | while IFS= read -r p; do say "ln $(readlink "$p")$TAB$p"; done
  fi
  REGULAR=$(printf '%s\n' "$STAT" | sed -n 's/^8... [^ ]* [^ ]* [^ ]* [^ ]* //p')
  SUMS=''
  if [ -n "$REGULAR" ]; then
    SUMS=$(printf '%s\n' "$REGULAR" | zeros | xargs -0 sha256sum -- 2>/dev/null)
    printf '%s\n' "$SUMS" | put su
  fi
  # Text of what differs, for diffs; 256 KiB at most.
  printf '%s\n\n%s\n\n%s\n' "$STAT" "$SUMS" "$(rows file unit timer firewall)" | awk -F'\t' '
    $0 == "" { part++; next }
    part == 0 { p = $0; split(p, f, " "); for (i = 0; i < 5; i++) sub(/^[^ ]* /, "", p); size[p] = f[5]; next }
    part == 1 { sum[substr($0, 67)] = substr($0, 1, 64); next }
    $3 == "t" { p = $2; if ($1 == "unit" || $1 == "timer") p = "/etc/systemd/system/" $2
      if ($1 == "firewall") p = "/etc/nftables.d/" $2 ".nft"
      if (p in sum && sum[p] != $4 && size[p] + 0 < 262144) print p }' |
    while IFS= read -r p; do say "tx $(b64 <"$p") $p"; done
fi

rows dns-zone | while IFS="$TAB" read -r kind key flags want path rest; do
  [ -f "$path" ] || continue
  d=$(awk "$ZONE_AWK" "$path" | sha256sum)
  d=${d%% *}
  say "zo $d $path"
  if [ "$flags" = t ] && [ "$d" != "$want" ]; then say "tz $(awk "$ZONE_AWK" "$path" | b64) $path"; fi
done

PACKAGES=$(rows package)
if [ -n "$PACKAGES" ]; then
  if INSTALLED=$(dpkg-query -W -f "$PKG_FORMAT" 2>&1); then
    say pk-ok
    printf '%s\n\n%s\n' "$PACKAGES" "$INSTALLED" | awk -F'\t' '
      $0 == "" { second = 1; next }
      !second { want[$2] = 1; next }
      $1 in want { print $0 "\t" $1 }
      ($1 ":" $2) in want { print $0 "\t" $1 ":" $2 }' | put pk
  else
    say "pk-error $(printf '%s' "$INSTALLED" | head -n 1)"
  fi
fi

if [ -n "$(rows user group)" ]; then
  if [ -r /etc/passwd ] && [ -r /etc/group ]; then
    put gr </etc/group
    printf '%s\n\n' "$(rows user)" | awk -F'\t' '{ print $2 }' | awk -F: '
      FNR == NR { if ($0 != "") want[$0] = 1; next }
      $1 in want' - /etc/passwd | put pw
    say pw-ok
  fi
fi

if [ -n "$(rows setting)" ] && [ -e "$MAINCF" ]; then
  if S=$(awk "$MAINCF_AWK" "$MAINCF"); then
    printf '%s\n\n%s\n' "$(rows setting)" "$S" | awk -F'\t' '
      !second && $0 == "" { second = 1; next }
      !second { n = $2; sub(/^postfix:/, "", n); want[n] = 1; next }
      $1 in want' | put se
    say se-ok
  fi
fi

LINES=$(rows line)
if [ -n "$LINES" ]; then
  printf '%s\n' "$LINES" | awk -F'\t' '{ print $2 FS $4 FS $5 FS $6 }' | awk -F'\t' "$LINE_AWK" | put li
fi

UNITS=$(printf '%s\n' "$ALL" | awk -F'\t' '
  $1 == "timer" { print $2 }
  $1 == "service" { if ($2 ~ /\.(service|socket|timer|target|path|mount)$/) print $2; else print $2 ".service" }' | sort -u)
if [ -n "$UNITS" ]; then
  printf '%s\n' "$UNITS" | put un
  if S=$(printf '%s\n' "$UNITS" | zeros | xargs -0 systemctl show -p LoadState,ActiveState,UnitFileState -- 2>&1); then
    printf '%s\n' "$S" | awk -v RS= '{ gsub(/\n/, " "); print }' | put sv
  else
    say "sv-error $(printf '%s' "$S" | head -n 1)"
  fi
fi

rows command | while IFS="$TAB" read -r kind key flags creates unless once user rest; do
  o_creates='' o_unless='' o_once='' o_user=root
  [ "$creates" = - ] || o_creates=$creates
  [ "$unless" = - ] || o_unless=$(printf '%s' "$unless" | base64 -d)
  [ "$once" = - ] || o_once=$once
  [ "${user:--}" = - ] || o_user=$user
  if condition; then say "co y $key"; else say "co n $key"; fi
done

rows firewall | while IFS="$TAB" read -r kind key rest; do
  loaded "$key"
  say "fw $F_LOADED $key"
done

ACCOUNTS=$(rows mail-account)
if [ -n "$ACCOUNTS" ]; then
  printf '%s\n' "$ACCOUNTS" | awk -F'\t' '{ print $4 }' | sort -u | while IFS= read -r file; do
    [ -f "$file" ] || continue
    printf '%s\n' "$ACCOUNTS" | awk -F'\t' -v f="$file" '$4 == f { print $2 }' | awk -F: -v f="$file" '
      FNR == NR { want[$1] = 1; next }
      $1 in want && !($1 in done) { done[$1] = 1; print f "\t" $0 }' - "$file" | put ma || exit 1
    [ -r "$file" ] && say "ma-ok $file"
  done
fi

if [ -d "$R/pending" ]; then
  for f in "$R"/pending/*; do
    case $f in *.tmp) continue ;; esac
    if [ -f "$f" ]; then say "pe $(cat "$f") ${f##*/}"; fi
  done
fi
if read_lease && [ "$L_TOKEN" != 0 ]; then
  say "le $L_TOKEN$TAB$L_HOLDER$TAB$L_APPLY$TAB$L_SINCE$TAB$(($(date +%s) - L_BEAT))"
fi
if [ -f "$R/armed/apply" ]; then say "ar $(cat "$R/armed/apply")"; fi
say end
