# What a host says of its configuration items. One line each: NUMBER ok VALUE, NUMBER absent, NUMBER no WHY. Nothing is changed.
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

tell() {
    v=$3
    # A value with line ends or signs of control goes on one line; most need no program for it.
    case $v in
    *[!\ A-Za-z0-9._:/+~=,@%-]*) v=$(printf %s "$v" | tr '\000-\037\177' ' ') ;;
    esac
    printf '%s %s %.300s\n' "$1" "$2" "$v"
}
no() { tell "$1" no "$2"; }
absent() { printf '%s absent\n' "$1"; }
has() {
    command -v "$2" >/dev/null 2>&1 && return 0
    no "$1" "$2 is not there"
    return 1
}
# Runs without input, for twenty seconds at most.
quiet() { timeout 20 "$@" </dev/null 2>/dev/null; }
loud() { timeout 20 "$@" </dev/null 2>&1; }
failed() {
    case $2 in
    124) no "$1" 'it took longer than 20 s' ;;
    *) no "$1" "it ended with $2" ;;
    esac
}

ask_file() {
    if ! s=$(loud stat -L -c '%a %U:%G %s %F' -- "$2"); then
        # No right to look is not the same as nothing there.
        case $s in
        *'No such file'* | *'Not a directory'*) absent "$1" ;;
        *) no "$1" "${s##*: }" ;;
        esac
        return
    fi
    mode=${s%% *}
    s=${s#* }
    owner=${s%% *}
    s=${s#* }
    case $3 in
    mode) tell "$1" ok "$mode" ;;
    owner) tell "$1" ok "$owner" ;;
    size) tell "$1" ok "${s%% *}" ;;
    sha256)
        case $s in
        *'regular'*) ;;
        *) no "$1" "it is a ${s#* }" && return ;;
        esac
        if h=$(quiet sha256sum -- "$2"); then
            h=${h#\\}
            tell "$1" ok "${h%% *}"
        else
            failed "$1" $?
        fi
        ;;
    *) tell "$1" ok present ;;
    esac
}

ask_package() {
    if command -v dpkg-query >/dev/null 2>&1; then
        if v=$(loud dpkg-query -W -f '${db:Status-Status} ${Version}\n' -- "$2"); then
            # Of several architectures the first that is installed.
            v=$(printf '%s\n' "$v" | sed -n '/^installed /{s/^installed //p;q;}')
            if [ -n "$v" ]; then tell "$1" ok "$v"; else absent "$1"; fi
        else
            case $v in
            *'no packages found'*) absent "$1" ;;
            *) no "$1" "dpkg-query: $v" ;;
            esac
        fi
    elif command -v rpm >/dev/null 2>&1; then
        if v=$(loud rpm -q --qf '%{VERSION}-%{RELEASE}\n' -- "$2"); then
            tell "$1" ok "${v%%
*}"
        else
            case $v in
            *'is not installed'*) absent "$1" ;;
            *) no "$1" "rpm: $v" ;;
            esac
        fi
    else
        no "$1" 'neither dpkg-query nor rpm is there'
    fi
}

ask_service() {
    has "$1" systemctl || return 0
    if v=$(loud systemctl show -p LoadState -p ActiveState -p UnitFileState -- "$2"); then
        case $v in
        *LoadState=not-found*) absent "$1" ;;
        *ActiveState=*) tell "$1" ok "$v" ;;
        *) no "$1" 'systemctl says nothing of it' ;;
        esac
    else
        no "$1" "systemctl: $v"
    fi
}

ask_driver() {
    if [ ! -d /sys/module ]; then
        no "$1" '/sys/module is not there'
    elif [ -r "/sys/module/$2/version" ]; then
        read -r v <"/sys/module/$2/version"
        tell "$1" ok "$v"
    elif [ -d "/sys/module/$2" ]; then
        tell "$1" ok present
    else
        absent "$1"
    fi
}

ask_sysctl() {
    if [ ! -d /proc/sys/kernel ]; then
        no "$1" '/proc/sys is not there'
    elif [ ! -e "/proc/sys/$2" ]; then
        absent "$1"
    elif v=$(quiet cat "/proc/sys/$2"); then
        tell "$1" ok "$v"
    else
        failed "$1" $?
    fi
}

ask_postconf() {
    has "$1" postconf || return 0
    v=$(quiet postconf -h "$2")
    rc=$?
    if [ "$rc" != 0 ]; then
        failed "$1" "$rc"
    elif [ -n "$v" ]; then
        tell "$1" ok "$v"
    else
        # A name that it does not know is told on standard error only.
        case $(loud postconf -h "$2") in
        *'unknown parameter'*) absent "$1" ;;
        *) tell "$1" ok '' ;;
        esac
    fi
}

ask_doveconf() {
    has "$1" doveconf || return 0
    if v=$(quiet doveconf -h "$2"); then
        tell "$1" ok "$v"
    else
        rc=$?
        case $(loud doveconf -h "$2") in
        *'nknown setting'* | *'Invalid setting'*) absent "$1" ;;
        *) failed "$1" "$rc" ;;
        esac
    fi
}

ask_script() {
    if v=$(quiet sh -c "$2"); then
        tell "$1" ok "$v"
    else
        failed "$1" $?
    fi
}
