# A slapd with TLS, people and a reader. $1: its address.
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '%s\n' 'slapd slapd/domain string acme.test' 'slapd shared/organization string acme' \
    "slapd slapd/password1 password $ADMIN" "slapd slapd/password2 password $ADMIN" | debconf-set-selections
apt-get install -qq -y --no-install-recommends slapd ldap-utils openssl > /var/log/slapd-install.log 2>&1 || { tail /var/log/slapd-install.log; exit 1; }
cd /etc/ldap
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=directory-ca -keyout /root/ca.key -out ca.pem 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ldap.acme.test -keyout server.key -out /root/server.csr 2>/dev/null
printf 'subjectAltName=DNS:ldap.acme.test,IP:%s\n' "$1" > /root/names
openssl x509 -req -in /root/server.csr -CA ca.pem -CAkey /root/ca.key -CAcreateserial -days 30 -extfile /root/names -out server.pem 2>/dev/null
chown openldap server.key
ldapmodify -Q -Y EXTERNAL -H ldapi:/// > /dev/null <<'X'
dn: cn=config
changetype: modify
add: olcTLSCACertificateFile
olcTLSCACertificateFile: /etc/ldap/ca.pem
-
add: olcTLSCertificateKeyFile
olcTLSCertificateKeyFile: /etc/ldap/server.key
-
add: olcTLSCertificateFile
olcTLSCertificateFile: /etc/ldap/server.pem
X
sed -i 's#^SLAPD_SERVICES=.*#SLAPD_SERVICES="ldap:/// ldapi:/// ldaps:///"#' /etc/default/slapd
systemctl restart slapd
{
    printf 'dn: cn=reader,dc=acme,dc=test\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\nuserPassword: %s\n\n' "$READER"
    for unit in people others; do
        printf 'dn: ou=%s,dc=acme,dc=test\nobjectClass: organizationalUnit\nou: %s\n\n' $unit $unit
    done
    # Two entries have the mail address of twin.
    while read -r uid unit side mail; do
        printf 'dn: uid=%s,ou=%s,dc=acme,dc=test\nobjectClass: inetOrgPerson\nuid: %s\ncn: %s\nsn: %s\nmail: %s\nemployeeType: %s\n\n' "$uid" "$unit" "$uid" "$uid" "$uid" "$mail" "$side"
    done <<'X'
ann people old ann@acme.test
bob people new bob@acme.test
cem people held cem@acme.test
dana people blocked dana@acme.test
twin people old twin@acme.test
twin others new twin@acme.test
odd people somewhere odd@acme.test
X
    printf 'dn: uid=bare,ou=people,dc=acme,dc=test\nobjectClass: inetOrgPerson\nuid: bare\ncn: bare\nsn: bare\nmail: bare@acme.test\n\n'
} | ldapadd -x -D cn=admin,dc=acme,dc=test -w "$ADMIN" > /dev/null
