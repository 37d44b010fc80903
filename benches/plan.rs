//! A no-change plan against a recorded observation: CPU time and memory of the whole work in a process of its own.
//!
//! `cargo bench --bench plan` runs it for 10,000 to 100,000 resources. `-- COUNT` for one size.
//! Measured from the start of the process: making the site (as lowering hands it over),
//! reading the observation from its file, planning, and the text of the plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cutover::catalog;
use cutover::model::address::{Address, HostName, Kind};
use cutover::model::attr::{Attr, Attrs, Body, Content, Digest};
use cutover::model::host::HostAccess;
use cutover::model::observed::{Facts, Observation, Observed, Owned, Record};
use cutover::model::resource::{Dependency, Notify, NotifyHow, Resource};
use cutover::model::site::Site;
use cutover::model::source::Origin;
use cutover::planning::{PlanInput, PlanOptions, plan};
use cutover::reporting::{TextOptions, plan_text};

/// Resources of one host: 2 roles of 50.
const PER_HOST: usize = 100;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--once", count, file] => once(count.parse()?, Path::new(file)),
        ["--record", count, file] => record(count.parse()?, Path::new(file)),
        [count] => measure(count.parse()?).map(|_| ()),
        _ => {
            let mut former: Option<f64> = None;
            for count in [10_000, 25_000, 50_000, 100_000] {
                let cpu = measure(count)?;
                if let Some(former) = former.filter(|_| count != 25_000) {
                    say(&format!("    time(2N)/time(N) = {:.2}", cpu / former));
                }
                former = Some(cpu);
            }
            Ok(())
        }
    }
}

/// Records an observation and plans against it, each in a process of its own. Returns seconds of CPU.
fn measure(count: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let me = std::env::current_exe()?;
    let file: PathBuf = std::env::temp_dir().join(format!("cutover-bench-{}-{count}.json", std::process::id()));
    let run = |what: &str| -> Result<String, Box<dyn std::error::Error>> {
        let out = Command::new(&me).arg(what).arg(count.to_string()).arg(&file).output()?;
        if !out.status.success() {
            return Err(String::from_utf8_lossy(&out.stderr).into_owned().into());
        }
        Ok(String::from_utf8(out.stdout)?)
    };
    run("--record")?;
    let said = run("--once");
    std::fs::remove_file(&file)?;
    let said = said?;
    say(said.trim_end());
    let cpu = said.split("cpu=").nth(1).and_then(|t| t.split('s').next()).ok_or("no figure")?;
    Ok(cpu.parse()?)
}

fn once(count: usize, file: &Path) -> Outcome {
    let site = site(count);
    let lowered = cpu()?;
    let observed: Observed = serde_json::from_reader(std::io::BufReader::new(std::fs::File::open(file)?))?;
    let read = cpu()?;
    let options = PlanOptions::default();
    let plan = plan(&PlanInput { site: &site, observed: &observed, options: &options, key_id: "bench" })?;
    let planned = cpu()?;
    let text = plan_text(&plan, &TextOptions::default());
    if !plan.is_empty() || plan.examined != count || plan.blocked() {
        return Err(format!("not a no-change plan: {text}").into());
    }
    let all = cpu()?;
    say(&format!(
        "{count} resources: cpu={all:.3}s (site {lowered:.3}, reading {:.3}, planning {:.3}), peak {} MiB",
        read - lowered,
        planned - read,
        peak_mib()?
    ));
    Ok(())
}

fn record(count: usize, file: &Path) -> Outcome {
    let out = std::io::BufWriter::new(std::fs::File::create(file)?);
    serde_json::to_writer(out, &observed(&site(count)))?;
    Ok(())
}

/// CPU seconds of this process so far. It has one thread.
fn cpu() -> Result<f64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().ok_or("empty")?.parse::<f64>()? / 1e9)
}

fn peak_mib() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// `count` resources in roles of 50: packages, a user, folders, files that reload, services. A role waits for the one before.
fn site(count: usize) -> Site {
    let mut site = Site { organization: "bench".into(), ..Site::default() };
    for h in 0..count.div_ceil(PER_HOST) {
        let host = HostName(format!("host-{h:04}"));
        site.hosts.insert(host.clone(), access(&host));
        for role in 0..2 {
            for n in 0..50 {
                if site.resources.len() < count {
                    let resource = resource(&mut site.bodies, &host, h, role, n);
                    site.resources.push(resource);
                }
            }
        }
    }
    site.resources.sort_by(|a, b| a.address.cmp(&b.address));
    site
}

fn resource(bodies: &mut BTreeMap<Digest, Body>, host: &HostName, h: usize, role: usize, n: usize) -> Resource {
    let (kind, key) = match n {
        0..5 => (Kind::Package, format!("package-{role}-{n}")),
        5 => (Kind::User, format!("user-{role}")),
        6..10 => (Kind::Directory, format!("/etc/app-{role}/{n}")),
        10..48 => (Kind::File, format!("/etc/app-{role}/{}/{n}.conf", 6 + n % 4)),
        _ => (Kind::Service, format!("service-{role}-{n}")),
    };
    let mut attrs: Attrs = match kind {
        Kind::Service => [("enabled", Attr::Bool(true)), ("running", Attr::Bool(true))].into(),
        Kind::User => [("home", Attr::text("/srv")), ("shell", Attr::text("/usr/sbin/nologin"))].into(),
        Kind::Package => Attrs::new(),
        _ => {
            [("owner", "root"), ("group", "root"), ("mode", "0644")].map(|(k, v)| (k.to_owned(), Attr::text(v))).into()
        }
    };
    if kind == Kind::File {
        let text = format!("# {host} {key}\n{}", "setting = value\n".repeat(12));
        let body = Body::text(text.clone());
        let content = Content { id: body.intent(), digest: Some(Digest::of(text.as_bytes())), sensitive: false };
        attrs.insert("content".into(), Attr::Content(content));
        bodies.insert(body.intent(), body);
    }
    let notify = Notify { service: format!("service-{role}-48"), how: NotifyHow::Reload };
    let after = match (h, n) {
        (_, 0) if role == 1 => vec![Dependency::Group(format!("server.{host}/role-0"))],
        (1.., 0) => vec![Dependency::Group(format!("server.host-{:04}/role-0", h - 1))],
        _ => Vec::new(),
    };
    Resource {
        address: Address::new(host, kind, key),
        attrs,
        group: format!("server.{host}/role-{role}"),
        stage: catalog::spec(kind).stage,
        after,
        notifies: if kind == Kind::File { vec![notify] } else { Vec::new() },
        protect: false,
        owner: format!("server:{host}"),
        origin: Origin { file: "topology/servers.kdl".into(), line: n as u32 + 1, column: 9 },
    }
}

fn observed(site: &Site) -> Observed {
    let mut out = Observed::default();
    for r in &site.resources {
        let host = &r.address.host;
        let answer = out.hosts.entry(host.clone()).or_insert_with(|| Observation {
            host: host.clone(),
            facts: Facts { os: "debian 12".into(), hostname: host.0.clone(), arch: "x86_64".into() },
            records: BTreeMap::new(),
            owned: Vec::new(),
            pending: BTreeMap::new(),
            lease: None,
            armed: None,
            zone: None,
        });
        let found = |(name, attr): (&str, &Attr)| match attr {
            Attr::Content(c) => c.digest.clone().map(|d| (name.to_owned(), Attr::Digest(d))),
            other => Some((name.to_owned(), other.clone())),
        };
        let attrs: Attrs = r.attrs.iter().filter_map(found).collect();
        let fingerprint = attrs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        answer.records.insert(r.address.local(), Record { present: true, attrs, fingerprint, text: None });
        answer.owned.push(Owned {
            kind: r.address.kind,
            key: r.address.key.clone(),
            owner: r.owner.clone(),
            attrs: Attrs::new(),
            notifies: r.notifies.clone(),
            protect: false,
        });
    }
    out
}

fn access(host: &HostName) -> HostAccess {
    HostAccess::at(host.clone(), format!("{host}.example.org"))
}

#[allow(clippy::print_stdout)] // A benchmark speaks on standard output.
fn say(line: &str) {
    println!("{line}");
}
