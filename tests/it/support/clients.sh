# Real mail programs against one host: each logs in, reads a message or sends one. Prints a line each: PROGRAM PROTOCOL TLS ok|FAILED.
# $1: host; $2: user; $3: password; $4: folder for what they leave. A message with the text `canary-body` stands in INBOX.
host=$1 user=$2 pass=$3 dir=$4
rm -rf "$dir"; mkdir -p "$dir"; cd "$dir" || exit 1
export HOME=$dir LC_ALL=C TERM=xterm
ca=/etc/ssl/certs/ca-certificates.crt
say() { # PROGRAM PROTOCOL TLS: by the exit status of what ran before
    if [ "$?" = 0 ]; then echo "$1 $2 $3 ok"; else echo "$1 $2 $3 FAILED"; tail -5 "$dir/log" >&2; fi
}
found() { grep -rqs canary-body "$1"; }
run() { timeout 40 "$@" > "$dir/log" 2>&1 < /dev/null; }

printf 'user = "%s:%s"\n' "$user" "$pass" > curlrc
run curl -sS -K curlrc "imaps://$host/INBOX;MAILINDEX=1" -o curl-1 && found curl-1; say curl imap tls
run curl -sS --ssl-reqd -K curlrc "imap://$host/INBOX;MAILINDEX=1" -o curl-2 && found curl-2; say curl imap starttls
run curl -sS -K curlrc "pop3s://$host/1" -o curl-3 && found curl-3; say curl pop3 tls
run curl -sS --ssl-reqd -K curlrc "pop3://$host/1" -o curl-4 && found curl-4; say curl pop3 starttls
printf 'From: <%s>\r\nTo: <%s>\r\nSubject: from curl\r\n\r\nhello\r\n' "$user" "$user" > letter
run curl -sS -K curlrc --mail-from "$user" --mail-rcpt "$user" -T letter "smtps://$host:465/client.test"; say curl smtp tls
run curl -sS --ssl-reqd -K curlrc --mail-from "$user" --mail-rcpt "$user" -T letter "smtp://$host:587/client.test"; say curl smtp starttls

# mutt wants a terminal.
cat > terminal.py <<'X'
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
end = time.time() + 30
while time.time() < end:
    if select.select([fd], [], [], 0.2)[0]:
        try:
            if not os.read(fd, 65536):
                break
        except OSError:
            break
os.kill(pid, 9)
X
for tls in tls starttls; do
    case $tls in tls) kind=IMAPS mutt=imaps port=993 ssl=yes ;; *) kind=STARTTLS mutt=imap port=143 ssl=no ;; esac
    mkdir -p "mbsync-$tls"
    cat > mbsyncrc <<X
IMAPStore far
Host $host
User $user
Pass $pass
SSLType $kind
CertificateFile $ca

MaildirStore near
Inbox $dir/mbsync-$tls/
Path $dir/mbsync-$tls/

Channel all
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
X
    run mbsync -c mbsyncrc all && found "mbsync-$tls"; say mbsync imap $tls

    cat > offlinerc <<X
[general]
accounts = a
metadata = $dir/offline-$tls-meta
maxsyncaccounts = 1
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = $dir/offline-$tls
[Repository far]
type = IMAP
remotehost = $host
remoteport = $port
remoteuser = $user
remotepass = $pass
ssl = $ssl
starttls = $([ $ssl = no ] && echo yes || echo no)
sslcacertfile = $ca
folderfilter = lambda f: f == 'INBOX'
X
    # Its library imaplib2 loses an answer around STARTTLS now and then, by a race of its own threads: 5 and then 21 of 300 sessions with a Dovecot
    # on loopback and nothing between ended with "no response". What it cannot do thrice in a row is not that.
    for _ in 1 2 3; do run offlineimap -c offlinerc -o -u quiet -1 && break; done; found "offline-$tls"; say offlineimap imap $tls

    cat > muttrc <<X
set folder="$mutt://$host/"
set imap_user="$user"
set imap_pass="$pass"
set ssl_force_tls=yes
set ssl_starttls=yes
set certificate_file="$ca"
set ssl_ca_certificates_file="$ca"
set confirmcreate=no
set copy=no
set delete=no
set mark_old=no
set quit=yes
set sort=mailbox-order
set spoolfile="$mutt://$host/INBOX"
push "<first-entry><copy-message>$dir/mutt-$tls<enter><quit>"
X
    run python3 terminal.py mutt -n -F muttrc; found "mutt-$tls"; say mutt imap $tls

    for protocol in imap pop3; do
        rm -rf "fetched-$protocol-$tls"
        case $tls in tls) option="ssl" ;; *) option="sslproto TLS1.2+" ;; esac
        printf 'poll %s proto %s user "%s" password "%s" %s sslcertck keep fetchall mda "cat >> %s"\n' \
            "$host" "$protocol" "$user" "$pass" "$option" "$dir/fetched-$protocol-$tls" > fetchmailrc
        chmod 600 fetchmailrc
        run fetchmail -f fetchmailrc --nosyslog --pidfile "$dir/pid" -i "$dir/ids"; found "fetched-$protocol-$tls"; say fetchmail $protocol $tls
    done
    case $tls in tls) option="--tlsc -p 465" ;; *) option="--tls -p 587" ;; esac
    run swaks --server "$host" $option --tls-verify --auth PLAIN --auth-user "$user" --auth-password "$pass" -f "$user" -t "$user" --header "Subject: from swaks"; say swaks smtp $tls
    run swaks --server "$host" $option --tls-verify --auth LOGIN --auth-user "$user" --auth-password "$pass" -f "$user" -t "$user" --header "Subject: from swaks"; say swaks-login smtp $tls
done

cat > standard.py <<'X'
import imaplib, poplib, smtplib, ssl, sys
host, user, password, protocol, tls = sys.argv[1:]
context = ssl.create_default_context()
if protocol == "imap":
    if tls == "tls":
        c = imaplib.IMAP4_SSL(host, ssl_context=context, timeout=20)
    else:
        c = imaplib.IMAP4(host, timeout=20)
        c.starttls(context)
    assert c.login(user, password)[0] == "OK"
    assert c.select("INBOX")[0] == "OK"
    _, found = c.search(None, "BODY", "canary-body")
    _, data = c.fetch(found[0].split()[0], "(RFC822)")
    assert b"canary-body" in data[0][1]
    c.logout()
elif protocol == "pop3":
    if tls == "tls":
        c = poplib.POP3_SSL(host, context=context, timeout=20)
    else:
        c = poplib.POP3(host, timeout=20)
        c.stls(context)
    c.user(user)
    c.pass_(password)
    assert any(b"canary-body" in b"".join(c.retr(n + 1)[1]) for n in range(c.stat()[0]))
    c.quit()
else:
    if tls == "tls":
        c = smtplib.SMTP_SSL(host, 465, context=context, timeout=20)
    else:
        c = smtplib.SMTP(host, 587, timeout=20)
        c.starttls(context=context)
    c.login(user, password)
    c.sendmail(user, [user], f"From: <{user}>\r\nTo: <{user}>\r\nSubject: from python\r\n\r\nhello\r\n")
    c.quit()
X
for tls in tls starttls; do
    run python3 standard.py "$host" "$user" "$pass" imap $tls; say imaplib imap $tls
    run python3 standard.py "$host" "$user" "$pass" pop3 $tls; say poplib pop3 $tls
    run python3 standard.py "$host" "$user" "$pass" smtp $tls; say smtplib smtp $tls
done
