//! Renames against real hosts: what `moved` names keeps its files, its processes and its entries in the hosts' ledgers.

use crate::cli::{Run, Sandbox, finish};
use crate::lab_flow::{PACK, PASSWORD};
use crate::support::lab::Lab;

const ZONE: &str = "\n    dns-zone \"{{item.key}}\" each=nameserver.file_zones path=\"{{item.path}}\" template=zone.hbs owner=root group=root mode=\"0644\"\n}\n";
const RECORDS: &str = "$ORIGIN {{item.name}}.\n@ SOA {{item.primary}} {{item.hostmaster}} (\n    @SERIAL@ ; serial\n    3600 900 1209600 300 )\n\
    {{#each item.records}}\n{{name}} {{ttl}} {{type}} {{data}}\n{{/each}}\n";

struct World {
    lab: Lab,
    box_: Sandbox,
}

impl World {
    fn run(&self, args: &[&str]) -> Run {
        let mut command = self.box_.command(args);
        command.env("ANN", PASSWORD);
        finish(command)
    }

    /// Writes the topology: the names of the two servers, of the pair and of the zone's view, and what moved.
    fn write(&self, names: [&str; 2], pair: &str, view: &str, moved: &str) {
        let [first, second] = names;
        let mut text = format!(
            "language 1\norganization flow domain=flow.example anchor={first}\nsite s\nplatform p {{ product flow \"1\"; }}\n\
             accepted-domain flow.example default=#true\nmail-account ann@flow.example on={pair} password=(secret)\"env:ANN\"\n\
             pair {pair} method=shared {{ members {first} {second}; }}\n\
             dns-provider files type=zone-file host={first} path=\"/srv/flow/flow.zone\"\n\
             zone flow.example provider=files view={view} {{ record www A \"192.0.2.7\"; }}\n{moved}\n"
        );
        for (name, host) in names.iter().zip(["a", "b"]) {
            let access = self.lab.access(host);
            text.push_str(&format!(
                "server {name} platform=p site=s ip=\"{}\" fqdn={host}.flow.example {{\n    roles flow\n    connection user=root \
                 key=(secret)\"file:{}\" host-key=\"{}\"\n}}\n",
                access.address,
                self.lab.key().display(),
                access.host_key.expect("pinned"),
            ));
        }
        self.box_.write("topology.kdl", &text);
    }

    /// Inode and content of every file, and the process of the service.
    fn state(&self, host: &str) -> String {
        let look = "cd /srv/flow && for f in *; do stat -c '%n %i %U %a' \"$f\"; sha256sum < \"$f\"; done; \
                    systemctl show -P MainPID flow; id -u flow; cat /srv/flow.count";
        self.lab.sh(host, look)
    }

    /// Keys of all that the host's ledger holds.
    fn ledger(&self, host: &str) -> Vec<String> {
        let found = self.lab.sh(host, "cat /var/lib/cutover/flow/owned/* | sed -n 's/^J\\t//p'");
        let entry = |line: &str| {
            let owned: serde_json::Value = serde_json::from_str(line).expect("JSON");
            format!("{}:{}", owned["kind"].as_str().unwrap_or_default(), owned["key"].as_str().unwrap_or_default())
        };
        let mut keys: Vec<String> = found.lines().map(entry).collect();
        keys.sort();
        keys
    }
}

#[test]
fn what_was_renamed_is_neither_destroyed_nor_made_anew() {
    let Some(lab) = Lab::new("moved").host("a").host("b").up() else { return };
    let world = World { lab, box_: Sandbox::new() };
    let pack = PACK.replace("one of {{server.name}}", "one of {{server.fqdn}}");
    let end = pack.rfind('}').expect("a role");
    world.box_.write("modules/flow/module.kdl", &format!("{}{ZONE}", &pack[..end].trim_end()));
    world.box_.write("modules/flow/templates/zone.hbs", RECORDS);
    let secret = "{{#each mail.accounts}}{{this.address}}={{this.password}}\n{{/each}}";
    world.box_.write("modules/flow/templates/secret.hbs", secret);

    world.write(["a", "b"], "store", "public", "");
    world.run(&["apply", "--yes"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(0);
    let (before, ledger) = (["a", "b"].map(|h| world.state(h)), world.ledger("a"));
    assert!(ledger.contains(&"dns-zone:flow.example@public".to_owned()), "{ledger:?}");

    let moved = "moved from=\"server:[a,b]\" to=\"server:mail-[1:2]\"\nmoved from=\"pair:store\" to=\"pair:mailboxes\"\n\
                 moved from=\"zone:flow.example@public\" to=\"zone:flow.example@both\"";
    world.write(["mail-1", "mail-2"], "mailboxes", "both", moved);
    let plan = world.run(&["plan", "--format", "json"]).ends(0).out;
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let steps = plan["steps"].as_array().expect("steps");
    let told: Vec<String> = steps.iter().map(|s| format!("{} {} {}", s["action"], s["address"], s["reason"])).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("\"update\"") && told[0].contains("renamed from dns-zone:flow.example@public"),
        "{told:?}"
    );

    world.run(&["apply", "--yes"]).ends(0);
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");
    world.run(&["drift"]).ends(0);
    assert_eq!(["a", "b"].map(|h| world.state(h)), before, "no file was written, no process was told");
    let now = world.ledger("a");
    let renamed: Vec<String> = ledger.iter().map(|k| k.replace("flow.example@public", "flow.example")).collect();
    assert_eq!(now, renamed, "one entry, under the new key");

    let json = world.run(&["history", "--format", "json"]).ends(0).out;
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let last = list[0]["apply"].as_str().expect("an id").to_owned();
    world.run(&["undo", &last, "--yes"]).ends(0).says("Undo of");
    assert_eq!(world.ledger("a"), ledger, "the former entry is back, and the new one is gone");
    world.write(["a", "b"], "store", "public", "");
    world.run(&["plan", "--detailed-exitcode"]).ends(0).says("Nothing to do");

    // To another file: the new one is made before the former one goes, and stays.
    world.write(["a", "b"], "store", "both", "moved from=\"zone:flow.example@public\" to=\"zone:flow.example@both\"");
    let text = world.box_.read("topology.kdl").replace("/srv/flow/flow.zone", "/srv/flow/other.zone");
    world.box_.write("topology.kdl", &text);
    world.run(&["apply", "--yes"]).ends(0);
    assert_eq!(world.lab.sh("a", "cd /srv/flow && ls *.zone"), "other.zone");
    world.run(&["plan", "--detailed-exitcode"]).ends(0);
}
