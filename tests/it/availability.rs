//! Forecasts of availability: the figures of worked examples, what the largest example comes to and how soon, and a simulation of
//! made-up plants that has to agree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cutover::availability::{Forecast, Verdict, forecast};
use cutover::language::{self, Options};

use crate::cli::Sandbox;
use crate::dice::Dice;
use crate::language::{draw, files};
use crate::support::fate::{Part, Plant, Server, Tier, watch};

fn forecast_of(text: &str) -> Forecast {
    let c = language::compile_files(&files("t.kdl", text), "t.kdl", &Options::default());
    assert!(!c.diagnostics.has_errors(), "{text}\n{}", draw(&c));
    forecast(&c.topology)
}

/// A site that never fails, and servers that are down for one hour of a thousand.
const SOUND: &str = "language 1\norganization o domain=o.example\nplatform ex exchange=\"2010\"\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
    site s datacenter=#true\nreliability site mttr=\"0s\" { of site:s; }\n";

#[test]
fn a_pair_is_what_the_formula_says_and_four_tiers_in_a_row_too() {
    let mut text = SOUND.to_owned();
    for (name, role) in [("gw", "proxy"), ("fe", "relay"), ("tr", "smtp"), ("st", "imap")] {
        let _ = writeln!(text, "server \"{name}-[1:2]\" platform=open site=s {{ roles {role}; }}");
    }
    text.push_str("pair store { members \"st-[1:2]\"; }\n");
    text.push_str("reliability seen mtbf=\"999h\" mttr=\"1h\" failover=\"0s\" common-cause=\"5%\" { of \"[gw,fe,tr,st]-[1:2]\" pair:store; }\n");
    text.push_str("load-balancer front type=haproxy { members \"gw-[1:2]\"; ports 993; }\n");
    text.push_str("reliability front failover=\"0s\" { of load-balancer:front; }\n");
    text.push_str("sla up type=availability target=\"99.99%\" { of service; }\n");
    let found = forecast_of(&text);
    let level = &found.levels[0];
    let shown = |v: Option<f64>, digits: usize| format!("{:.digits$}", v.expect("reckoned") * 100.0);
    assert_eq!((shown(level.low, 3), shown(level.high, 4)), ("99.980".into(), "99.9996".into()), "{level:#?}");
    assert_eq!(level.verdict, Verdict::ByLuck);
    assert_eq!(level.parts.len(), 5, "four tiers, and sites that cost nothing: {:?}", level.parts);
}

/// 99.99% leave 52.56 minutes a year: where each failover of a site takes an hour, no more than 0.876 of them.
#[test]
fn a_level_pays_for_so_many_failovers_of_a_site_and_no_more() {
    let level = |hours: u64| {
        let text = format!(
            "language 1\norganization o domain=o.example\nplatform ex exchange=\"2010\"\nsite \"[n,s]\" datacenter=#true\n\
             server \"[n,s]-[1:2]\" platform=ex site=$1 {{ roles mailbox; }}\nserver w platform=ex site=n {{ roles witness; }}\n\
             witness w host=w\nwitness w2 host=w\ndag d witness=w alternate-witness=w2 {{ members \"[n,s]-[1:2]\"; }}\n\
             reliability perfect mttr=\"0s\" failover=\"0s\" {{ of \"[n,s]-[1:2]\" w dag:d; }}\n\
             reliability sites mtbf=\"{hours}h\" mttr=\"0s\" {{ of site:n site:s; }}\n\
             sla back type=continuance within=\"1h\"\n\
             sla up type=availability target=\"99.99%\" window=\"365d\" {{ of service; }}\n"
        );
        forecast_of(&text).levels.remove(0)
    };
    // The active copy of a database is in one site: one that fails every 10,000 hours fails 0.876 times a year.
    assert_eq!(level(10_000).verdict, Verdict::Holds, "{:#?}", level(10_000));
    assert_eq!(level(9_900).verdict, Verdict::OutOfReach);
    assert!((level(10_000).budget.expect("target") / 60.0 - 52.56).abs() < 1e-6);
}

#[test]
fn the_largest_example_is_reckoned_at_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/microsoft-it/topology.kdl");
    let c = language::check(&root, &Options { environment: Some("production".into()), ..Options::default() });
    assert!(!c.diagnostics.has_errors(), "{}", draw(&c));
    let start = Instant::now();
    let found = forecast(&c.topology);
    let took = start.elapsed();
    assert!(took < Duration::from_millis(300), "{took:?}");
    let level = |name: &str| found.levels.iter().find(|l| l.level.as_deref() == Some(name)).expect(name);
    let whole = level("availability");
    assert_eq!(whole.of, "service");
    assert!(whole.parts.iter().any(|p| p.part == "stores" && p.of == "1 of 2 with 2 of 3 votes"), "{:?}", whole.parts);
    assert!(whole.low < whole.high && whole.high < Some(1.0), "{whole:#?}");
    // What is measured server by server knows no other server that takes over.
    assert!(level("client-availability").high < level("mobile-all").low, "{found:#?}");
}

#[test]
fn the_command_says_what_is_promised_what_it_costs_and_what_is_left() {
    let s = Sandbox::new();
    s.write(
        "topology.kdl",
        "language 1\norganization o domain=o.example\nsite office\nplatform open postfix=\"3.7\" dovecot=\"2.3\"\n\
         server \"mail-[1:2]\" platform=open site=office { roles imap smtp; }\npair store { members \"mail-[1:2]\"; }\n\
         sla up type=availability target=\"99.9%\" { of service; }\nsla lab type=availability formality=informal target=\"99%\" { of mail-1; }\n",
    );
    let run = s.run(&["forecast", "availability"]).ends(2);
    let run = run.says("up: 99.9% of service promised, 43m 12s of 30d may be lost").says("out of reach");
    let run = run.says("lab: 99% of mail-1 promised").says("holds").says("left for maintenance: none");
    run.says("1 site: 30d between failures, 2h 23m to repair; assumed").says("sites");
    let run = s.run(&["forecast", "availability", "--format", "json"]).ends(2);
    let found: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!(found["levels"][1]["verdict"], "out-of-reach");
    assert_eq!(found["levels"][1]["parts"][0]["part"], "sites", "the costliest first: {found}");
    // The same servers hold the mail and take it: they count once.
    assert_eq!(found["levels"][1]["parts"].as_array().map(Vec::len), Some(2), "{found}");
    s.run(&["lint"]).ends(0).says("promise-out-of-reach");
}

/// 30,000 mailboxes at 80%: two servers of 18,750 carry them, so that a third one is spare.
#[test]
fn tiers_that_say_what_they_carry_need_that_many() {
    let run = |each: u32| {
        forecast_of(&format!(
            "{SOUND}hardware front mailboxes={each}\ntraffic all mailboxes=30000\n\
             server \"fe-[1:3]\" platform=open site=s hardware=front {{ roles proxy; }}\n\
             server st platform=open site=s {{ roles imap; }}\n"
        ))
    };
    let of = |f: &Forecast| f.levels[0].parts.iter().find(|p| p.part == "proxy").expect("tier").of.clone();
    let (many, few, none) = (run(40_000), run(18_750), run(18_749));
    assert_eq!((of(&many), of(&few), of(&none)), ("1 of 3".into(), "2 of 3".into(), "3 of 3".into()));
    let spare = |f: &Forecast| f.capacity[0].has_spare();
    assert_eq!((spare(&many), spare(&few), spare(&none)), (true, true, false), "{:?}", none.capacity);
    assert_eq!(few.capacity[0].without_largest, 30_000);
    assert_eq!(few.capacity[0].not_without, ["s"]);
}

/// A made-up plant: as KDL for the forecast, as parts for the simulation.
struct World {
    text: String,
    plant: Plant,
}

/// Hours in the language.
fn hours(h: f64) -> String {
    format!("{}s", (h * 3600.0).round())
}

/// `beta` is what the simulation does, `told` what the topology says of it. Servers fail far more often than real ones, so that a
/// simulation sees enough of it.
fn world(dice: &mut Dice, beta: f64, told: Option<f64>, failover: f64) -> World {
    let mut text = "language 1\norganization o domain=o.example\nplatform ex exchange=\"2010\"\n\
        platform open postfix=\"3.7\" dovecot=\"2.3\"\n"
        .to_owned();
    let mut plant = Plant { parts: Vec::new(), servers: Vec::new(), tiers: Vec::new() };
    let sites = 1 + dice.below(3);
    for s in 0..sites {
        let (up, down) = (500.0 + dice.below(1500) as f64, 5.0 + dice.below(15) as f64);
        plant.parts.push(Part { up, down });
        let _ = writeln!(text, "site s{s}");
        let (up, down, other) = (hours(up), hours(down), hours(failover));
        let _ =
            writeln!(text, "reliability s{s} mtbf=\"{up}\" mttr=\"{down}\" failover=\"{other}\" {{ of site:s{s}; }}");
    }
    let common = told.map_or(String::new(), |b| format!(" common-cause=\"{}%\"", (b * 100.0).round()));
    let other = hours(failover);
    // A witness belongs to the dag, where there is one.
    let dag = dice.one_in(2);
    let store = if dag { ("mailbox", 2 + dice.below(3)) } else { ("imap", 2) };
    let tiers = [("proxy", 1 + dice.below(3)), ("relay", 1 + dice.below(4)), store];
    let mut name = 0;
    for (role, count) in tiers {
        let (up, down) = (100.0 + dice.below(300) as f64, 2.0 + dice.below(8) as f64);
        let share = down / (up + down);
        let mut causes: BTreeMap<usize, usize> = BTreeMap::new();
        let mut serving = Vec::new();
        let mut names = Vec::new();
        for _ in 0..count {
            let site = dice.below(sites);
            let cause = *causes.entry(site).or_insert_with(|| {
                plant.parts.push(Part::down_for(beta * share, down));
                plant.parts.len() - 1
            });
            plant.parts.push(Part::down_for((share - beta * share) / (1.0 - beta * share), down));
            plant.servers.push(Server { parts: vec![site, cause, plant.parts.len() - 1] });
            serving.push(plant.servers.len() - 1);
            let platform = if role == "mailbox" { "ex" } else { "open" };
            let _ = writeln!(text, "server h{name} platform={platform} site=s{site} {{ roles {role}; }}");
            names.push(format!("h{name}"));
            name += 1;
        }
        let of = names.join(" ");
        let _ =
            writeln!(text, "reliability {role} mtbf=\"{}\" mttr=\"{}\"{common} {{ of {of}; }}", hours(up), hours(down));
        let mut tier = Tier { serving: serving.clone(), needs: 1, voters: Vec::new(), votes: 0, failover };
        let group = match role {
            "proxy" => {
                let _ = writeln!(text, "load-balancer g-{role} type=haproxy {{ members {of}; ports 993; }}");
                Some(("load-balancer", "g-proxy"))
            }
            "imap" => {
                let _ = writeln!(text, "pair g-{role} {{ members {of}; }}");
                Some(("pair", "g-imap"))
            }
            "mailbox" => {
                let site = dice.below(sites);
                plant.parts.push(Part { up, down });
                plant.servers.push(Server { parts: vec![site, plant.parts.len() - 1] });
                let witness = plant.servers.len() - 1;
                let _ = writeln!(text, "server w platform=ex site=s{site} {{ roles witness; }}");
                let (up, down) = (hours(up), hours(down));
                let _ = writeln!(text, "reliability w mtbf=\"{up}\" mttr=\"{down}\" {{ of w; }}");
                let _ = writeln!(text, "witness w host=w\ndag g-{role} witness=w {{ members {of}; }}");
                tier.voters = serving.clone();
                tier.voters.extend(count.is_multiple_of(2).then_some(witness));
                tier.votes = tier.voters.len() / 2 + 1;
                Some(("dag", "g-mailbox"))
            }
            // Whoever brings mail asks the next host at once.
            _ => {
                tier.failover = 0.0;
                None
            }
        };
        if let Some((kind, group)) = group {
            let _ = writeln!(text, "reliability f-{role} failover=\"{other}\" {{ of {kind}:{group}; }}");
        }
        plant.tiers.push(tier);
    }
    text.push_str("sla up type=availability target=\"99%\" { of service; }\n");
    World { text, plant }
}

fn worlds() -> u64 {
    std::env::var("CUTOVER_WORLDS").ok().and_then(|n| n.parse().ok()).unwrap_or(24)
}

/// Where topology and simulation say the same of common causes, the lower end is what happens: within four standard errors, with no
/// allowance beside.
#[test]
fn a_simulation_of_made_up_plants_agrees_with_the_lower_end() {
    let mut wrong = Vec::new();
    for seed in 0..worlds() {
        let mut dice = Dice(seed);
        let beta = [0.0, 0.1, 0.3][dice.below(3)];
        let world = world(&mut dice, beta, Some(beta), 0.0);
        let found = forecast_of(&world.text).levels.remove(0);
        let seen = watch(&world.plant, 400_000.0, &mut dice);
        let low = found.low.expect("reckoned");
        if (low - seen.mean).abs() > 4.0 * seen.error + 1e-9 {
            wrong.push(format!("{seed}: {low} against {} +- {}\n{}", seen.mean, seen.error, world.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), worlds(), wrong.join("\n"));
}

/// Where nothing is known of common causes, and failovers take their time, what happens lies in the interval.
#[test]
fn a_simulation_of_made_up_plants_lies_in_the_interval() {
    let mut wrong = Vec::new();
    for seed in 1_000_000..1_000_000 + worlds() {
        let mut dice = Dice(seed);
        let beta = dice.below(11) as f64 / 100.0;
        let world = world(&mut dice, beta, None, 0.05);
        let found = forecast_of(&world.text).levels.remove(0);
        let seen = watch(&world.plant, 400_000.0, &mut dice);
        let (low, high) = found.low.zip(found.high).expect("reckoned");
        if seen.mean < low - 4.0 * seen.error || seen.mean > high + 4.0 * seen.error {
            wrong.push(format!("{seed}: {low} to {high} against {} +- {}\n{}", seen.mean, seen.error, world.text));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), worlds(), wrong.join("\n"));
}
