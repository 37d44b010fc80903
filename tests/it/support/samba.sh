# An Active Directory domain controller (Samba) with TLS, people and a reader. $1: its address, $2: its host name.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install -qq -y --no-install-recommends samba samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind ldap-utils openssl > /var/log/samba-install.log 2>&1 || { tail /var/log/samba-install.log; exit 1; }
systemctl disable -q --now smbd nmbd winbind || true
rm -f /etc/samba/smb.conf
# Its xattrs go into a file, as a container's file system takes none of the security namespace.
samba-tool domain provision --realm=AD.ACME.TEST --domain=ACME --adminpass="$ADMIN" --server-role=dc --dns-backend=NONE \
    --option='vfs objects=dfs_samba4 acl_xattr xattr_tdb' --host-name="$2" > /var/log/samba-provision.log 2>&1 || { tail /var/log/samba-provision.log; exit 1; }
# The certificate that it makes for itself names no host in a way that counts today (RFC 9525 section 6.3).
mkdir -p /var/lib/samba/private/tls && cd /var/lib/samba/private/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=directory-ca -keyout /root/ca.key -out ca.pem 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj "/CN=$2.ad.acme.test" -keyout key.pem -out /root/server.csr 2>/dev/null
printf 'subjectAltName=DNS:%s.ad.acme.test,IP:%s\n' "$2" "$1" > /root/names
openssl x509 -req -in /root/server.csr -CA ca.pem -CAkey /root/ca.key -CAcreateserial -days 30 -extfile /root/names -out cert.pem 2>/dev/null
chmod 600 key.pem
systemctl unmask -q samba-ad-dc
systemctl start samba-ad-dc
for _ in $(seq 100); do ldapsearch -x -H ldap://127.0.0.1 -s base -b '' defaultNamingContext > /dev/null 2>&1 && break; sleep 0.2; done
samba-tool user create reader "$READER" > /dev/null
samba-tool group add moved > /dev/null
for user in ann bob cem twin; do samba-tool user create $user "$ADMIN" --mail-address="$user@acme.test" > /dev/null; done
# Two objects have the mail address of twin.
samba-tool user create twin2 "$ADMIN" --mail-address=twin@acme.test > /dev/null
samba-tool group addmembers moved bob > /dev/null
