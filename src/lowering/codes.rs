//! Every code of packs and of lowering: what it means, what to do, an example.

use crate::model::code::Example::{Elsewhere, Files, Text};
use crate::model::code::{Chapter, Code, code};

pub const CHAPTERS: &[Chapter] = &[Chapter { title: "Packs and what roles become", codes: CODES }];

/// A host with one role, as most examples need it.
macro_rules! host {
    ($roles:literal) => {
        concat!(
            "organization acme domain=acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nsite office\n",
            "server one platform=open site=office ip=\"192.0.2.1\" { roles ",
            $roles,
            "; }\n"
        )
    };
}

/// The same with a pack of the user's own.
macro_rules! pack {
    ($roles:literal, $module:literal) => {
        Files(&[("topology.kdl", host!($roles)), ("modules/own/module.kdl", $module)])
    };
}

const CODES: &[Code] = &[
    code(
        "E1001",
        "A pack uses a word that does not exist",
        "A node, resource kind, field, template or part of a pack is not known.",
        "Mend the word; the message names the nearest.",
        pack!("hub", "role hub platform=postfix-dovecot {\n    pakcage postfix\n}\n"),
    ),
    code(
        "E1002",
        "A node of a pack lacks something",
        "A role names its platform, a resource its name, a file where its content comes from.",
        "Write what the message names.",
        pack!("hub", "role hub platform=postfix-dovecot {\n    file \"/etc/a\"\n}\n"),
    ),
    code(
        "E1003",
        "A value in a pack is not of its type",
        "Ports are numbers, names are texts, `stage` is 0 to 9.",
        "Write the value in the form that the message shows.",
        pack!("hub", "role hub platform=postfix-dovecot {\n    listen smtp 99999\n}\n"),
    ),
    code(
        "E1004",
        "Something in a pack is set or defined twice",
        "Only one of the two could hold.",
        "Keep one.",
        pack!(
            "hub",
            "role hub platform=postfix-dovecot {\n    file \"/etc/a\" content=\"x\" mode=\"0600\" mode=\"0644\"\n}\n"
        ),
    ),
    code(
        "E1005",
        "A template uses what is not there",
        "Templates are strict: an unknown path is a mistake, never an empty text in a configuration file.",
        "Mend the path; the message names the nearest.",
        pack!("hub", "role hub platform=postfix-dovecot {\n    file \"/etc/a\" content=\"{{server.nam}}\"\n}\n"),
    ),
    code(
        "E1006",
        "A template fails, or a secret stands where it would be seen",
        "Secrets may stand in contents only: names and commands appear in plans and process lists.",
        "Write the secret into a file and let the command read it; for other failures see the message.",
        Files(&[
            (
                "topology.kdl",
                concat!(host!("hub"), "mail-account ann@acme.example on=one password=(secret)\"env:ANN\"\n"),
            ),
            (
                "modules/own/module.kdl",
                "role hub platform=postfix-dovecot {\n    command tell run=\"echo {{item.password}}\" each=mail.accounts\n}\n",
            ),
        ]),
    ),
    code(
        "E1007",
        "A template is not a handlebars template",
        "A block is never closed, or a tag is broken.",
        "Mend the template at the place shown.",
        pack!("hub", "role hub platform=postfix-dovecot {\n    file \"/etc/a\" content=\"{{#if roles.hub}}x\"\n}\n"),
    ),
    code(
        "E1008",
        "The topology names no organization",
        "What cutover owns on a host stands under the organization's name.",
        "Write organization NAME domain=..",
        Text(
            "platform dns knot=\"3.2\"\nsite office\nserver one platform=dns site=office ip=\"192.0.2.1\" { roles dns; }\n",
        ),
    ),
    code(
        "E1009",
        "A way to reach hosts that is not supported",
        "OpenSSH runs in batch mode, which takes keys and no passwords; runas is for Windows.",
        "Log in by key; become root by sudo or doas.",
        Text(
            "organization acme domain=acme.example\nplatform dns knot=\"3.2\"\nsite office\nconnection c user=root password=(secret)\"env:PW\"\nserver one platform=dns site=office ip=\"192.0.2.1\" connection=c { roles dns; }\n",
        ),
    ),
    code(
        "E1010",
        "Two packs say what one role is",
        "Which of two packs holds must not hang on their order.",
        "Take the role out of one of them, or give it another platform.",
        Files(&[
            ("topology.kdl", host!("hub")),
            ("modules/a/module.kdl", "role hub platform=postfix-dovecot {\n    package postfix\n}\n"),
            ("modules/b/module.kdl", "role hub platform=postfix-dovecot {\n    package postfix\n}\n"),
        ]),
    ),
    code(
        "E1011",
        "A pack's platform is not declared",
        "A role of a pack is for a platform, and a platform lists the products that it is made of.",
        "Mend the name, or declare `platform NAME` in the pack.",
        pack!(
            "hub",
            "role hub platform=postfix-dovecot {\n    package postfix\n}\nrole edge platform=postfix-dovecott {\n    package postfix\n}\n"
        ),
    ),
    code(
        "E1012",
        "The pack is for another version of the product",
        "Configuration files change between versions; the pack says for which it was written.",
        "Use a pack for that version, or correct the version of the platform.",
        Text(
            "organization acme domain=acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.4\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles imap; }\ncertificate tls subject=one.acme.example issuer=internal { on one; services imap; }\n",
        ),
    ),
    code(
        "E1013",
        "A record points at what has no such address",
        "An A or AAAA record takes its address from the server that it names.",
        "Give the server an `ip` or `ip6`, or write the address.",
        Text(
            "organization acme domain=acme.example\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\nserver web platform=dns site=office { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record www A to=server:web; }\n",
        ),
    ),
    code(
        "E1014",
        "A certificate could not be issued or read",
        "What it needs is told beside it.",
        "Mend what the other message names.",
        Elsewhere("cutover plan, where the file of an imported certificate cannot be read"),
    ),
    code(
        "E1015",
        "A setting would have no effect",
        "A setting names its product, and a role of the server must use it.",
        "Write setting \"postfix:KEY\" VALUE, on a server with that product.",
        Text(
            "organization acme domain=acme.example\nplatform dns knot=\"3.2\"\nsite office\nserver one platform=dns site=office ip=\"192.0.2.1\" { roles dns; setting \"knott:a\" b; }\n",
        ),
    ),
    code(
        "E1016",
        "Two roles want one thing differently",
        "Roles of one server may share files and packages, when they agree.",
        "Put the roles on two servers, or let the packs agree.",
        pack!(
            "alpha beta",
            "role alpha platform=postfix-dovecot {\n    file \"/etc/a\" content=\"x\"\n}\nrole beta platform=postfix-dovecot {\n    file \"/etc/a\" content=\"y\"\n}\n"
        ),
    ),
    code(
        "E1017",
        "A resource waits for what nothing asks for",
        "`after` and `reload` name resources of the same server.",
        "Mend the name, or take it out.",
        pack!("hub", "role hub platform=postfix-dovecot {\n    file \"/etc/a\" content=\"x\" reload=nginx\n}\n"),
    ),
    code(
        "E1018",
        "Two roles cannot be on one server",
        "The pack says that they want the same ports or files.",
        "Put them on two servers.",
        Text(
            "organization acme domain=acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles imap cas; }\ncertificate tls subject=one.acme.example issuer=internal { on one; services imap; }\n",
        ),
    ),
    code(
        "E1019",
        "A role has no certificate",
        "The role serves clients over TLS and needs a certificate for its service.",
        "Declare a certificate `on` this server for that service.",
        Text(host!("imap")),
    ),
    code(
        "E1020",
        "dsync does not replicate with this version of Dovecot",
        "Dovecot 2.4 dropped replication.",
        "Use Dovecot 2.3, or another method.",
        Elsewhere(
            "a pack of the user that widens the version limits of the language, which else refuses it first (E0601)",
        ),
    ),
    code(
        "E1024",
        "A record is made and also written out",
        "Of two SPF, DKIM, DMARC or MTA-STS records of one name receivers take none.",
        "Keep the record, or what it would be made from.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"_dmarc\" TXT \"v=DMARC1; p=none\"; }\nmail-auth acme.example { dmarc policy=none; }\n",
        ),
    ),
    code(
        "E1025",
        "An MTA-STS policy would name no host",
        "The policy lists the hosts that the domain's MX records name.",
        "Write the MX records of the domain.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot\nmail-auth acme.example { mta-sts host=ns; }\n",
        ),
    ),
    code(
        "E1026",
        "An SPF record would need too many lookups",
        "Behind the tenth lookup every check ends in an error (RFC 7208, section 4.6.4).",
        "Take includes away, or allow fewer servers.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"@\" MX mail.acme.example; record mail A \"192.0.2.1\"; }\nmail-auth acme.example { spf { include a.example b.example c.example d.example e.example f.example g.example h.example i.example j.example k.example; }; }\n",
        ),
    ),
    code(
        "E1027",
        "A sender has no address",
        "SPF lists the addresses of senders.",
        "Give the server an ip or ip6.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"@\" MX mail.acme.example; record mail A \"192.0.2.1\"; }\nserver out platform=dns site=office { roles dns; }\nmail-auth acme.example { spf { allow out; }; }\n",
        ),
    ),
    code(
        "E1028",
        "No zone holds the domain of a mail-auth",
        "What proves mail stands in DNS, in the zone of its domain.",
        "Write the zone; with a provider of type manual where people enter its records.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nmail-auth acme.example { dmarc policy=none; }\n",
        ),
    ),
    code(
        "E1031",
        "A zone cannot be reached, or has no ledger",
        "A zone that is changed over the network needs the address of its primary or of the service that holds it, the key of a service, and a server of the topology that keeps what cutover owns in it.",
        "Write `host=SERVER` or `endpoint=..` on the dns-provider, and have at least one server.",
        Text(
            "organization acme domain=acme.example\nplatform open knot=\"3.2\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles dns; }\ndns-provider ns type=rfc2136\nzone acme.example provider=ns { record \"@\" MX mail.acme.example; }\n",
        ),
    ),
    code(
        "E1032",
        "A record cannot be written into its zone",
        "Its name or its data is none that DNS knows.",
        "Write the data as a zone file has it (RFC 1035, section 5.1).",
        Text(
            "organization acme domain=acme.example\nplatform open knot=\"3.2\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles dns; }\ndns-provider ns type=rfc2136 endpoint=\"dns://192.0.2.53\"\nzone acme.example provider=ns { record \"_25._tcp.mail\" TLSA \"3 1\"; }\n",
        ),
    ),
    code(
        "E1034",
        "No window can move the records of this zone",
        "A cutover needs changes that are made whole or not at all, and the SOA of the zone: providers rfc2136 and powerdns give both.",
        "Give the zone a provider of type rfc2136 or powerdns, or take `held-until` away and change the record by hand.",
        Text(
            "organization acme domain=acme.example\nplatform open knot=\"3.2\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles dns; }\ndns-provider ns type=zone-file host=one\nrollback-point back restores=dns valid-for=\"1d\"\ncutover-window night start=\"2027-03-07T22:00\" for=\"2h\" rollback=back { steps flip-mx; }\nzone acme.example provider=ns { record \"@\" MX mail.acme.example held-until=night; }\n",
        ),
    ),
    code(
        "E1035",
        "No timezone of this name",
        "Windows begin at a time of the organization's timezone, and none is called so.",
        "Write an IANA name such as Europe/Dublin.",
        Text(
            "organization acme domain=acme.example timezone=\"Nowhere/None\"\nrollback-point back restores=dns valid-for=\"1d\"\ncutover-window night start=\"2027-03-07T22:00\" for=\"2h\" rollback=back { steps flip-mx; }\n",
        ),
    ),
    code(
        "E1036",
        "A stage cannot go on without its name servers",
        "What comes after a stage of a window is counted from the moment when the slowest name server serves it; one that does not follow gives none.",
        "Write on-timeout=stop, so that `cutover resume` goes on when the server is mended, or on-timeout=rollback.",
        Text(
            "organization acme domain=acme.example\nrollback-point back restores=dns valid-for=\"1d\"\ncutover-window night start=\"2027-03-07T22:00\" for=\"2h\" rollback=back { steps flip-mx; step flip-mx timeout=\"15m\" on-timeout=continue; }\n",
        ),
    ),
    code(
        "E1037",
        "No provider stands behind this type",
        "The language knows the word, and cutover does not know how to change zones there. It is refused rather than taken for done.",
        "Write type=manual: cutover says what to enter, and waits until every name server serves it.",
        Text(
            "organization acme domain=acme.example\nplatform open knot=\"3.2\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles dns; }\ndns-provider cloud type=azure\nzone acme.example provider=cloud { record \"@\" MX mail.acme.example; }\n",
        ),
    ),
    code(
        "E1038",
        "A zone stands twice at one provider",
        "A service holds one zone of a name. Two zones of the topology that are written there would undo each other's work.",
        "Give each view a provider of its own, or write the zone once.",
        Text(
            "organization acme domain=acme.example\nplatform open knot=\"3.2\"\nsite office\nserver one platform=open site=office ip=\"192.0.2.1\" { roles dns; }\ndns-provider pdns type=powerdns endpoint=\"https://192.0.2.53:8081\" key=(secret)\"env:KEY\"\nzone acme.example provider=pdns view=internal { record \"@\" MX mail.acme.example; }\nzone acme.example provider=pdns view=public { record \"@\" MX mail.acme.example; }\n",
        ),
    ),
    code(
        "E1039",
        "A server cannot sign with Ed25519",
        "OpenDKIM signs on servers with the roles smtp, relay and hub, and has no Ed25519; rspamd, on an edge, has.",
        "Let an edge sign with the key, beside an RSA key that the others sign with; or write algorithm=rsa-sha256.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\nserver out platform=open site=office ip=\"192.0.2.1\" { roles relay; }\ncertificate smtp subject=out.acme.example issuer=internal { on out; services smtp; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"@\" MX mail.acme.example; record mail A \"192.0.2.1\"; }\nmail-auth acme.example { dkim e1 algorithm=ed25519-sha256 key=(secret)\"file:e1.pem\" { signers out; }; }\n",
        ),
    ),
    code(
        "E1040",
        "A proxy cannot be set up as it is described",
        "A side leads to no host, two proxies share a server, a directory is named that cannot be asked, or a server has the role \
         proxy and none is on it.",
        "The message says which; write what it names.",
        Text(concat!(host!("proxy"), "certificate tls subject=one.acme.example issuer=internal { on one; }\n")),
    ),
    code(
        "E1041",
        "A content service cannot be set up as it is described",
        "A side leads to no host or cannot be opened, two services share a server, or a server has the role migration and none is on it.",
        "The message says which; write what it names.",
        Text(host!("migration")),
    ),
    code(
        "W1001",
        "No pack knows this role",
        "Nothing is installed for it; the server is still counted and checked.",
        "Write a pack for role and platform, or take the role out.",
        Text(host!("directory")),
    ),
    code(
        "W1002",
        "The storage of a pair is not set up",
        "DRBD and shared storage are not set up by a pack yet.",
        "Set the storage up by other means before the roles.",
        Text(
            "organization acme domain=acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nsite office\nserver \"m-[1:2]\" platform=open site=office ip=\"192.0.2.[1:2]\" { roles imap; }\npair store method=drbd { members \"m-[1:2]\"; }\ncertificate tls subject=m.acme.example issuer=internal { on \"m-[1:2]\"; services imap; }\n",
        ),
    ),
    code(
        "W1004",
        "Nothing serves an MTA-STS policy",
        "The host of mta-sts has no role that serves it, so senders find no policy.",
        "Give it the role mta-sts and a platform with nginx.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"@\" MX mail.acme.example; record mail A \"192.0.2.1\"; }\nmail-auth acme.example { mta-sts host=ns; }\n",
        ),
    ),
    code(
        "W1005",
        "A server signs no mail",
        "It is named as a signer, and none of its roles sends mail.",
        "Name a server with a role that sends: smtp, relay, hub or edge.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"@\" MX mail.acme.example; record mail A \"192.0.2.1\"; }\nmail-auth acme.example { dkim s1 key=(secret)\"file:s1.pem\" { signers ns; }; }\n",
        ),
    ),
    code(
        "W1007",
        "Nothing serves what mail programs ask for",
        "The host of discovery has no role that serves autoconfig and autodiscover.",
        "Give it the role autoconfig and a platform with nginx.",
        Text(
            "organization acme domain=acme.example\naccepted-domain acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nplatform dns knot=\"3.2\"\nsite office\nserver ns platform=dns site=office ip=\"192.0.2.53\" { roles dns; }\ndns-provider knot type=zone-file host=ns\nzone acme.example provider=knot { record \"@\" MX mail.acme.example; record mail A \"192.0.2.1\"; }\nnamespace mail.acme.example target=server:ns { services imap; }\nmail-auth acme.example { discovery host=ns { namespaces mail.acme.example; }; }\n",
        ),
    ),
    code(
        "W1008",
        "Nothing installs a proxy on a server",
        "The proxy names the server in `on`, and the server does not have the role proxy.",
        "Give the server the role proxy, or take it out of `on`.",
        Text(
            "organization acme domain=acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nsite office\nserver gate platform=open site=office ip=\"192.0.2.1\" { roles relay; }\nserver \"m-[1:2]\" platform=open site=office ip=\"192.0.2.[11:12]\" { roles imap; }\npair store { members \"m-[1:2]\"; }\ncertificate tls subject=m.acme.example issuer=internal { on gate \"m-[1:2]\"; }\nlegacy old product=dovecot host=old.acme.example\nproxy front old=old new=store { on gate; listen imap; }\n",
        ),
    ),
    code(
        "W1009",
        "Nothing installs a content service on a server",
        "The cms names the server in `on`, and the server does not have the role migration.",
        "Give the server the role migration, or take it out of `on`.",
        Text(
            "organization acme domain=acme.example\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\nsite office\nserver m platform=open site=office ip=\"192.0.2.11\" { roles imap; }\ncertificate tls subject=m.acme.example issuer=internal { on m; }\nlegacy old product=dovecot host=old.acme.example\ncms mover from=old to=m extractor=imap importer=imap password=(secret)\"env:CMS\" { on m; items messages; }\n",
        ),
    ),
    code(
        "W1010",
        "A probe is not made",
        "Nothing that it names has an address for what it asks, so that no host that watches can make it.",
        "Name servers, proxies or zones that have what the probe's type asks.",
        Text(
            "organization acme domain=acme.example\nplatform watcher { product prometheus \"2.42\"; }\nsite office\nserver watch platform=watcher site=office ip=\"192.0.2.20\" { roles monitor; }\nprobe padlock type=tls { to watch; }\n",
        ),
    ),
];
