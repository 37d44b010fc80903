"""The sixty resources of ../ansible/playbook.yml, for pyinfra. The templates are the same files (both tools use Jinja2)."""

from pathlib import Path

from pyinfra import host
from pyinfra.operations import apt, files, server, systemd

TEMPLATES = Path(__file__).resolve().parent.parent / "ansible" / "templates"
SITE = "bench.example"
# `--data only=files` leaves the rest out, for the count of sessions.
EVERYTHING = host.data.get("only") != "files"

def template(source, dest, entry):
    files.template(
        name=f"File {dest}", src=str(TEMPLATES / source), dest=dest,
        user="root", group="root", mode="644", site=SITE, entry=entry,
    )


if EVERYTHING:
    apt.packages(
        name="Packages",
        packages=[
            "postfix", "postfix-pcre", "dovecot-core", "dovecot-imapd", "dovecot-lmtpd",
            "cron", "logrotate", "rsyslog", "ca-certificates", "sudo",
        ],
    )

    for name, gid in (("vmail", 5000), ("mailops", 5001)):
        server.group(name=f"Group {name}", group=name, gid=gid)

    for name, uid, group, shell, home in (
        ("vmail", 5000, "vmail", "/usr/sbin/nologin", "/srv/mail"),
        ("ops-a", 5001, "mailops", "/bin/bash", "/home/ops-a"),
        ("ops-b", 5002, "mailops", "/bin/bash", "/home/ops-b"),
    ):
        server.user(
            name=f"User {name}", user=name, uid=uid, group=group, shell=shell, home=home,
            create_home=False, ensure_home=False,
        )

    for path, user, group, mode in (
        ("/etc/mail-site", "root", "root", "755"),
        ("/etc/mail-site/tenants", "root", "root", "755"),
        ("/etc/mail-site/sieve", "root", "root", "755"),
        ("/srv/mail", "vmail", "vmail", "750"),
        ("/var/log/mail-site", "root", "mailops", "750"),
    ):
        files.directory(name=f"Directory {path}", path=path, user=user, group=group, mode=mode)

for entry in (f"tenant-{n:02d}" for n in range(1, 11)):
    template("tenant.conf.j2", f"/etc/mail-site/tenants/{entry}.conf", entry)
    template("rule.sieve.j2", f"/etc/mail-site/sieve/{entry}.sieve", entry)
    template("rotate.j2", f"/etc/logrotate.d/mail-site-{entry}", entry)

if EVERYTHING:
    for key, value in (
        ("message_size_limit", "52428800"),
        ("mailbox_size_limit", "0"),
        ("smtpd_timeout", "30s"),
        ("maximal_queue_lifetime", "3d"),
        ("smtpd_helo_required", "yes"),
    ):
        files.line(
            name=f"Setting {key}", path="/etc/postfix/main.cf", line=f"^{key} *=.*", replace=f"{key} = {value}",
        )

    for service in ("postfix", "dovecot", "cron", "rsyslog", "ssh"):
        systemd.service(name=f"Service {service}", service=service, running=True, enabled=True)
