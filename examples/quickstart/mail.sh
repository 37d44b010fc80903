# How mail programs of users, and hosts outside, reach the lab: by name, trusting the organisation's own authority. Read by `run` and `trial`
# in the folder of the organisation (`acme`).
domain=acme.test
users="ann bob cem dana eli"
export CUTOVER_ROOT=$PWD CUTOVER_ENV=lab

# Passwords of this lab; kept in keys/lab.env and never shown.
lab_env() { unset CUTOVER_VAR_lab_net; set -a; . keys/lab.env; set +a; }
password() { local name=${1^^}; printf '%s' "${!name}"; }
address() { case $1 in mail) set -- gate ;; old) set -- old-host ;; esac; awk -F'[, ]' -v host="$1" '$1 == host { print $2 }' .cutover/lab/lab/known_hosts; }

# curl reads its settings, and with them the password, from standard input: no password stands in a process list.
mail() { # HOST USER ARGUMENTS…
    local host=$1 user=$2; shift 2
    local settings=""
    if [ -n "$user" ]; then settings="user = \"$user@$domain:$(password "$user")\""; fi
    local resolve=()
    for port in 25 587 993; do resolve+=(--resolve "$host.$domain:$port:$(address "$host")"); done
    curl -sS --max-time 30 --cacert keys/ca.pem "${resolve[@]}" -K - "$@" <<< "$settings"
}
message() { # FROM TO SUBJECT
    printf 'From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@quickstart.test>\r\n\r\nSent by the quickstart.\r\n' \
        "$1" "$2" "$3" "$(date -R)" "$3"
}
submit() { # FROM TO SUBJECT: by a user who logs in, at the name that users know
    mail mail "${1%%[+@]*}" --ssl-reqd --mail-from "$1" --mail-rcpt "$2" -T <(message "$1" "$2" "$3") "smtp://mail.$domain:587/quickstart.$domain"
}
deliver() { # FROM TO SUBJECT: from outside, by port 25 of the gate
    mail gate "" --mail-from "$1" --mail-rcpt "$2" -T <(message "$1" "$2" "$3") "smtp://gate.$domain:25/quickstart.test"
}
# How often a message is in this user's inbox, at the name that users know or on one host.
found() { # HOST USER SUBJECT
    mail "$1" "$2" "imaps://$1.$domain/INBOX?HEADER%20SUBJECT%20$3" | tr -d '\r' | awk '/^\* SEARCH/ { n = NF - 2 } END { print n + 0 }'
}
arrived() { # HOST USER SUBJECT [SECONDS]: waits until the message can be read
    local i number
    for i in $(seq 1 "${4:-60}"); do
        number=$(mail "$1" "$2" "imaps://$1.$domain/INBOX?HEADER%20SUBJECT%20$3" 2>/dev/null | tr -d '\r' | awk '/^\* SEARCH/ { print $3 }') || true
        if [ -n "$number" ]; then
            mail "$1" "$2" "imaps://$1.$domain/INBOX;MAILINDEX=$number" | grep -q "Sent by the quickstart"
            return
        fi
        sleep 1
    done
    return 1
}
