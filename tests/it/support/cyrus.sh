# Cyrus IMAP with POP3, STARTTLS and users with passwords. $1: its address; $USERS: lines of `name password`.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends curl cyrus-imapd cyrus-pop3d sasl2-bin libsasl2-modules openssl > /var/log/cyrus-install.log 2>&1 || { tail /var/log/cyrus-install.log; exit 1; }
mkdir -p /etc/cyrus-tls && cd /etc/cyrus-tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=cyrus-ca -keyout /root/ca.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=cyrus.acme.test -keyout key.pem -out /root/server.csr 2>/dev/null
printf 'subjectAltName=DNS:cyrus.acme.test,IP:%s\n' "$1" > /root/names
openssl x509 -req -in /root/server.csr -CA ca.pem -CAkey /root/ca.key -CAcreateserial -days 30 -extfile /root/names -out cert.pem 2>/dev/null
chown -R cyrus /etc/cyrus-tls
cat >> /etc/imapd.conf <<'X'
admins: cyrus
virtdomains: off
unixhierarchysep: yes
altnamespace: yes
sasl_mech_list: PLAIN LOGIN
autocreate_quota: 100000
autocreate_post: yes
autocreate_inbox_folders: Sent
autocreate_subscribe_folders: Sent
tls_server_cert: /etc/cyrus-tls/cert.pem
tls_server_key: /etc/cyrus-tls/key.pem
X
sed -i '/^unixhierarchysep: no/d; /^altnamespace: no/d; /^autocreate_quota: 0/d; s/^popminpoll: .*/popminpoll: 0/' /etc/imapd.conf
sed -i '/nntpd\|httpd/d; s#^[[:space:]]*imap[[:space:]].*#&\n  imaps cmd="imapd -s -U 30" listen="imaps" prefork=0 maxchild=100\n  pop3s cmd="pop3d -s -U 30" listen="pop3s" prefork=0 maxchild=50#' /etc/cyrus.conf
printf '%s\n' "$USERS" | while read -r name password; do
    printf '%s' "$password" | saslpasswd2 -p -c -u "$(hostname)" "$name"
done
chown cyrus:sasl /etc/sasldb2
usermod -aG sasl cyrus
systemctl restart cyrus-imapd
for _ in $(seq 50); do
    printf '%s\n' "$USERS" | { read -r name password; curl -s --max-time 2 -u "$name:$password" "imap://127.0.0.1/" > /dev/null; } && exit 0
    sleep 0.2
done
journalctl -u cyrus-imapd --no-pager | tail -20
exit 1
