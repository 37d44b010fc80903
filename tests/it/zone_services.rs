//! Zones at Cloudflare and at Route 53: from plan to undo against small servers in this process which answer in the shapes that the
//! vendors publish (their reference pages are named in `src/providers/zone/`). Nothing here was ever run against the live services.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use roxmltree::{Document, Node};
use serde_json::{Value as Json, json};

use crate::zones_world::{World, shown};

const TOKEN: &str = "a-token-that-nobody-sees";

/// A request as it came in.
struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: String,
    body: String,
}

/// Answers each request with status, more headers, and body.
fn serve(answer: impl Fn(&Request) -> (u16, &'static str, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some(request) = read(&mut stream) else { continue };
            let (status, headers, body) = answer(&request);
            let text = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(text.as_bytes());
        }
    });
    here
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = [0; 65_536];
    let (head, length) = loop {
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&piece[..n]);
        let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let length = text.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if bytes.len() >= head + 4 + length {
            break (head, length);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut words = text.split(' ');
    let (method, url) = (words.next()?.to_owned(), words.next()?);
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let query = query.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let body = String::from_utf8_lossy(&bytes[head + 4..head + 4 + length]).into_owned();
    Some(Request { method, path: path.to_owned(), query, headers: text.to_lowercase(), body })
}

/// A world whose zone is at a service.
fn world(line: &str, records: &str) -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("folder");
    let key = dir.path().join("key");
    std::fs::write(&key, format!("{TOKEN}\n")).expect("key");
    let mut world = World::new(&[], records);
    world.service = Some(format!("{line} key=(secret)\"file:{}\"", key.display()));
    (world, dir)
}

const RECORDS: &str = "record \"@\" MX new.acme.example priority=10 adopt=#true\nrecord new A \"192.0.2.2\" \"192.0.2.3\"\n\
                       record \"@\" TXT \"v=spf1 mx -all\"\nrecord \"_imaps._tcp\" SRV \"0 1 993 new.acme.example\"\n\
                       record \"@\" CAA \"0 issue \\\"ca.example\\\"\"\n\
                       record \"_25._tcp.new\" TLSA \"3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"";

/// `ZoneID` of the examples of their documentation.
const ID: &str = "023e105f4ecef8ad9ca31a8372d0c353";

#[derive(Default)]
struct Cloud {
    /// By id.
    records: BTreeMap<String, Json>,
    next: u32,
    /// Requests that are answered with "too many" first.
    slow: u32,
    batches: Vec<Json>,
    pages: u32,
    /// Before the next batch somebody else takes this record away.
    faster: Option<String>,
}

impl Cloud {
    fn add(&mut self, mut record: Json) {
        let id = format!("{:032x}", self.next);
        self.next += 1;
        // What their answers have beside what was written.
        if let Some(data) = record.get("data").cloned() {
            let field = |f: &str| data[f].as_str().map_or_else(|| data[f].to_string(), str::to_owned);
            record["content"] = match record["type"].as_str() {
                Some("SRV") => format!("{} {} {}", field("weight"), field("port"), field("target")),
                Some("CAA") => format!("{} {} \"{}\"", field("flags"), field("tag"), field("value")),
                _ => format!(
                    "{} {} {} {}",
                    field("usage"),
                    field("selector"),
                    field("matching_type"),
                    field("certificate")
                ),
            }
            .into();
        }
        record["id"] = id.clone().into();
        self.records.insert(id, record);
    }

    fn contents(&self) -> Vec<String> {
        let field = |r: &Json, f: &str| r[f].as_str().unwrap_or_default().to_owned();
        let line = |r: &Json| format!("{} {} {} {}", field(r, "name"), field(r, "type"), r["ttl"], field(r, "content"));
        let mut out: Vec<String> = self.records.values().map(line).collect();
        out.sort();
        out
    }
}

fn said(result: Json, pages: Json) -> String {
    json!({"success": true, "errors": [], "messages": [], "result": result, "result_info": pages}).to_string()
}

fn refused(code: i64, message: &str) -> String {
    json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null})
        .to_string()
}

fn cloudflare(state: &Mutex<Cloud>, r: &Request) -> (u16, &'static str, String) {
    let mut cloud = state.lock().expect("a state");
    if cloud.slow > 0 {
        cloud.slow -= 1;
        return (429, "retry-after: 0\r\n", refused(971, "Please wait and consider throttling your request speed"));
    }
    if !r.headers.contains(&format!("authorization: bearer {TOKEN}")) {
        return (403, "", refused(9109, "Invalid access token"));
    }
    let records = format!("/client/v4/zones/{ID}/dns_records");
    match (r.method.as_str(), r.path.as_str()) {
        ("GET", "/client/v4/zones") => {
            let zones = if r.query["name"] == "acme.example" {
                json!([{"id": ID, "name": "acme.example", "status": "active"}])
            } else {
                json!([])
            };
            (200, "", said(zones, json!({"page": 1, "per_page": 20, "total_pages": 1, "count": 1, "total_count": 1})))
        }
        // Pages of four, whatever was asked for: there are several.
        ("GET", path) if path == records => {
            let page: usize = r.query["page"].parse().expect("a page");
            let all: Vec<Json> = cloud.records.values().cloned().collect();
            let part: Vec<Json> = all.iter().skip((page - 1) * 4).take(4).cloned().collect();
            cloud.pages = cloud.pages.max(page as u32);
            let pages = json!({"page": page, "per_page": 4, "count": part.len(), "total_count": all.len(), "total_pages": all.len().div_ceil(4)});
            (200, "", said(part.into(), pages))
        }
        ("POST", path) if path == format!("{records}/batch") => {
            let batch: Json = serde_json::from_str(&r.body).expect("JSON");
            if let Some(id) = cloud.faster.take() {
                cloud.records.remove(&id);
            }
            let list = |field: &str| batch[field].as_array().cloned().unwrap_or_default();
            let ids = [list("deletes"), list("puts")].concat();
            if ids.iter().any(|c| !cloud.records.contains_key(c["id"].as_str().expect("an id"))) {
                return (404, "", refused(81044, "Record does not exist."));
            }
            if list("posts").iter().chain(&list("puts")).any(|p| p["ttl"].as_u64().is_some_and(|t| t < 60 && t != 1)) {
                return (
                    400,
                    "",
                    refused(9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."),
                );
            }
            for c in list("deletes") {
                cloud.records.remove(c["id"].as_str().expect("an id"));
            }
            for mut c in list("puts") {
                let id = c["id"].as_str().expect("an id").to_owned();
                cloud.add(c.take());
                let made = format!("{:032x}", cloud.next - 1);
                let mut record = cloud.records.remove(&made).expect("made");
                record["id"] = id.clone().into();
                cloud.records.insert(id, record);
            }
            list("posts").into_iter().for_each(|p| cloud.add(p));
            cloud.batches.push(batch);
            (200, "", said(json!({}), Json::Null))
        }
        _ => (404, "", refused(7003, "Could not route")),
    }
}

fn cloud() -> (Arc<Mutex<Cloud>>, String) {
    let mut cloud = Cloud::default();
    for record in [
        json!({"name": "acme.example", "type": "MX", "content": "old.acme.example", "priority": 10, "ttl": 300}),
        json!({"name": "acme.example", "type": "NS", "content": "a.ns.example", "ttl": 86400}),
        json!({"name": "their.acme.example", "type": "TXT", "content": "not \"ours\"", "ttl": 1}),
        json!({"name": "www.acme.example", "type": "A", "content": "192.0.2.80", "ttl": 1, "proxied": true}),
        json!({"name": "new.acme.example", "type": "AAAA", "content": "2001:db8::1", "ttl": 300}),
    ] {
        cloud.add(record);
    }
    let state = Arc::new(Mutex::new(cloud));
    let served = state.clone();
    let at = serve(move |r| cloudflare(&served, r));
    (state, format!("type=cloudflare endpoint=\"http://{at}/client/v4\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_at_cloudflare_there_and_back() {
    let (state, line) = cloud();
    let (mut world, _dir) = world(&line, RECORDS);
    let before = state.lock().expect("a state").contents();
    state.lock().expect("a state").slow = 2;
    world.apply("a1").await;
    assert_eq!(world.planned().await, [""; 0], "the second plan is empty");
    let after = state.lock().expect("a state").contents();
    assert!(state.lock().expect("a state").pages > 1, "it was read in pages");
    for line in [
        "acme.example MX 300 new.acme.example",
        "new.acme.example A 300 192.0.2.2",
        "_imaps._tcp.acme.example SRV 300 1 993 new.acme.example",
        "acme.example CAA 300 0 issue \"ca.example\"",
    ] {
        assert!(after.iter().any(|l| l == line), "{line} in {after:?}");
    }
    let theirs = |list: &[String]| {
        list.iter()
            .filter(|l| l.contains("their") || l.contains("www") || l.contains("AAAA"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(theirs(&after), theirs(&before), "foreign records stay as they are");
    // The MX kept its id: the set was never without a record.
    let batches = state.lock().expect("a state").batches.clone();
    let mx = batches.iter().flat_map(|b| b["puts"].as_array().cloned().unwrap_or_default()).find(|p| p["type"] == "MX");
    assert_eq!(mx.expect("an MX")["content"], "new.acme.example");
    assert!(batches.iter().all(|b| b["deletes"].as_array().is_some_and(Vec::is_empty)), "{batches:?}");

    // What is answered with addresses of Cloudflare's own is not what stands there.
    world.records = format!("{RECORDS}\nrecord www A \"192.0.2.80\"");
    let plan = world.plan().await;
    assert!(plan.blocked() && plan.notes.iter().any(|n| n.text.contains("(proxied)")), "{:?}", plan.notes);

    world.records = RECORDS.to_owned();
    world.undo("a1", "u1").await;
    assert_eq!(state.lock().expect("a state").contents(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_cloudflare_are_told_apart() {
    let (state, line) = cloud();
    let (mut world, dir) = world(&line, RECORDS);
    // Somebody takes a record away between our last look and the batch: its id is gone, and nothing is done.
    let plan = world.plan().await;
    let mx = state.lock().expect("a state").records.keys().next().cloned();
    state.lock().expect("a state").faster = mx;
    let report = world.try_apply(&plan, "a1").await.expect("applies");
    assert!(report.failed > 0, "{report:?}");
    assert!(!state.lock().expect("a state").contents().iter().any(|l| l.contains("MX")), "theirs holds");
    // A change that they do not take fails alone.
    world.records = "record low A \"192.0.2.9\" ttl=\"5s\"\nrecord good A \"192.0.2.9\"".to_owned();
    let plan = world.plan().await;
    let report = world.try_apply(&plan, "a2").await.expect("applies");
    assert!(format!("{:?}", report.outcomes).contains("Invalid TTL"), "{:?}", report.outcomes);
    assert!(state.lock().expect("a state").contents().iter().any(|l| l.contains("good.acme.example")));

    std::fs::write(dir.path().join("key"), "another").expect("key");
    let seen = world.observe(&world.site()).await;
    let failed = seen.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(failed.contains("403") && failed.contains("Invalid access token (9109)"), "{failed}");
    assert!(!failed.contains("another"), "{failed}");
}

const XMLNS: &str = "https://route53.amazonaws.com/doc/2013-04-01/";

/// Name and type.
type Key = (String, String);
/// Time to live and values.
type Value = (u32, Vec<String>);

#[derive(Default)]
struct Amazon {
    /// By name (reversed for their order is of no matter here) and type: time to live and values.
    sets: BTreeMap<Key, Value>,
    slow: u32,
    requests: Vec<String>,
    faster: Option<(Key, Value)>,
}

fn wrong(status: u16, code: &str, message: &str) -> (u16, &'static str, String) {
    let body = format!(
        "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"{XMLNS}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>b25f48e8-84fd-11e6-80d9-574e0c4664cb</RequestId></ErrorResponse>"
    );
    (status, "", body)
}

fn set(name: &str, kind: &str, ttl: u32, values: &[String]) -> String {
    let values: String =
        values.iter().map(|v| format!("<ResourceRecord><Value>{v}</Value></ResourceRecord>")).collect();
    format!(
        "<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type><TTL>{ttl}</TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet>"
    )
}

fn text(node: Node<'_, '_>, name: &str) -> String {
    node.descendants().find(|n| n.has_tag_name((XMLNS, name))).and_then(|n| n.text()).unwrap_or_default().to_owned()
}

fn route53(state: &Mutex<Amazon>, r: &Request) -> (u16, &'static str, String) {
    let mut amazon = state.lock().expect("a state");
    if !r.headers.contains("aws4-hmac-sha256 credential=akidexample/")
        || !r.headers.contains("/us-east-1/route53/aws4_request")
    {
        return wrong(403, "InvalidClientTokenId", "The security token included in the request is invalid.");
    }
    if amazon.slow > 0 {
        amazon.slow -= 1;
        return wrong(400, "Throttling", "Rate exceeded");
    }
    match (r.method.as_str(), r.path.as_str()) {
        ("GET", "/2013-04-01/hostedzonesbyname") => {
            let zone = |id: &str, private: bool| {
                format!(
                    "<HostedZone><Id>/hostedzone/{id}</Id><Name>acme.example.</Name><CallerReference>x</CallerReference><Config><Comment>x</Comment><PrivateZone>{private}</PrivateZone></Config><ResourceRecordSetCount>9</ResourceRecordSetCount></HostedZone>"
                )
            };
            let other = "<HostedZone><Id>/hostedzone/ZOTHER</Id><Name>acme.examples.</Name><CallerReference>x</CallerReference><Config><PrivateZone>false</PrivateZone></Config></HostedZone>";
            (
                200,
                "",
                format!(
                    "<?xml version=\"1.0\"?>\n<ListHostedZonesByNameResponse xmlns=\"{XMLNS}\"><HostedZones>{}{}{other}</HostedZones><DNSName>acme.example.</DNSName><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListHostedZonesByNameResponse>",
                    zone("ZPUBLIC", false),
                    zone("ZPRIVATE", true)
                ),
            )
        }
        ("GET", "/2013-04-01/hostedzone/ZPUBLIC/rrset") => {
            // Pages of three.
            let from = r.query.get("name").map(|n| (n.clone(), r.query["type"].clone()));
            let all: Vec<_> = amazon.sets.iter().collect();
            let start = from.map_or(0, |f| all.iter().position(|(k, _)| **k == f).expect("a page that was named"));
            let page: String = all.iter().skip(start).take(3).map(|((n, k), (ttl, v))| set(n, k, *ttl, v)).collect();
            let alias = "<ResourceRecordSet><Name>web.acme.example.</Name><Type>A</Type><AliasTarget><HostedZoneId>Z2FDTNDATAQYW2</HostedZoneId><DNSName>d123.cloudfront.net.</DNSName><EvaluateTargetHealth>false</EvaluateTargetHealth></AliasTarget></ResourceRecordSet>";
            let next = all.get(start + 3).map_or_else(
                || format!("{alias}</ResourceRecordSets><IsTruncated>false</IsTruncated>"),
                |((n, k), _)| format!("</ResourceRecordSets><IsTruncated>true</IsTruncated><NextRecordName>{n}</NextRecordName><NextRecordType>{k}</NextRecordType>"),
            );
            (
                200,
                "",
                format!(
                    "<?xml version=\"1.0\"?>\n<ListResourceRecordSetsResponse xmlns=\"{XMLNS}\"><ResourceRecordSets>{page}{next}<MaxItems>3</MaxItems></ListResourceRecordSetsResponse>"
                ),
            )
        }
        ("POST", "/2013-04-01/hostedzone/ZPUBLIC/rrset/") => {
            amazon.requests.push(r.body.clone());
            if let Some((key, value)) = amazon.faster.take() {
                amazon.sets.insert(key, value);
            }
            let document = Document::parse(&r.body).expect("XML");
            let mut sets = amazon.sets.clone();
            for change in document.descendants().filter(|n| n.has_tag_name((XMLNS, "Change"))) {
                let key = (text(change, "Name"), text(change, "Type"));
                let mut values: Vec<String> = change
                    .descendants()
                    .filter(|n| n.has_tag_name((XMLNS, "Value")))
                    .filter_map(|n| Some(n.text()?.to_owned()))
                    .collect();
                values.sort();
                let value = (text(change, "TTL").parse().expect("a TTL"), values);
                let tried = |what: &str, why: &str| {
                    wrong(
                        400,
                        "InvalidChangeBatch",
                        &format!("[Tried to {what} resource record set [name='{}', type='{}'] {why}]", key.0, key.1),
                    )
                };
                match text(change, "Action").as_str() {
                    "DELETE" => match sets.get(&key) {
                        None => return tried("delete", "but it was not found"),
                        Some((ttl, v))
                            if {
                                let mut v = v.clone();
                                v.sort();
                                (*ttl, v)
                            } != value =>
                        {
                            return tried("delete", "but the values provided do not match the current values");
                        }
                        Some(_) => drop(sets.remove(&key)),
                    },
                    "CREATE" if sets.contains_key(&key) => return tried("create", "but it already exists"),
                    "CREATE" => drop(sets.insert(key, value)),
                    other => panic!("{other}"),
                }
            }
            amazon.sets = sets;
            (
                200,
                "",
                format!(
                    "<?xml version=\"1.0\"?>\n<ChangeResourceRecordSetsResponse xmlns=\"{XMLNS}\"><ChangeInfo><Id>/change/C2682N5HXP0BZ4</Id><Status>PENDING</Status><SubmittedAt>2026-11-22T01:36:41.958Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>"
                ),
            )
        }
        _ => wrong(404, "NoSuchHostedZone", "No hosted zone found"),
    }
}

fn amazon() -> (Arc<Mutex<Amazon>>, String) {
    let mut amazon = Amazon::default();
    for (name, kind, ttl, value) in [
        ("acme.example.", "SOA", 900, "ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"),
        ("acme.example.", "NS", 172_800, "ns-1.awsdns-01.org."),
        ("acme.example.", "MX", 300, "10 old.acme.example."),
        ("\\052.dev.acme.example.", "TXT", 60, "\"caf\\303\\251\""),
        ("new.acme.example.", "AAAA", 300, "2001:db8::1"),
    ] {
        amazon.sets.insert((name.into(), kind.into()), (ttl, vec![value.to_owned()]));
    }
    let state = Arc::new(Mutex::new(amazon));
    let served = state.clone();
    let at = serve(move |r| route53(&served, r));
    (state, format!("type=route53 account=AKIDEXAMPLE endpoint=\"http://{at}\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_at_route_53_there_and_back() {
    let (state, line) = amazon();
    let (mut world, _dir) = world(&line, RECORDS);
    let before = state.lock().expect("a state").sets.clone();
    state.lock().expect("a state").slow = 2;
    world.apply("a1").await;
    assert_eq!(world.planned().await, [""; 0], "the second plan is empty");
    let after = state.lock().expect("a state").sets.clone();
    let key = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    assert_eq!(after[&key("acme.example.", "MX")], (300, vec!["10 new.acme.example.".to_owned()]));
    assert_eq!(after[&key("new.acme.example.", "A")].1.len(), 2);
    for theirs in [key("\\052.dev.acme.example.", "TXT"), key("acme.example.", "NS"), key("new.acme.example.", "AAAA")]
    {
        assert_eq!(after[&theirs], before[&theirs]);
    }
    // The swap is one batch that names the old set.
    let requests = state.lock().expect("a state").requests.clone();
    let swap = requests.iter().find(|r| r.contains("<Type>MX</Type>")).expect("a swap");
    let (gone, come) = (swap.find("10 old.acme.example."), swap.find("10 new.acme.example."));
    assert!(gone.is_some() && gone < come, "{swap}");

    // An alias of Amazon's is no set of records; it is not written over.
    world.records = format!("{RECORDS}\nrecord web A \"192.0.2.80\" adopt=#true");
    let plan = world.plan().await;
    let report = world.try_apply(&plan, "a2").await.expect("applies");
    assert!(format!("{:?}", report.outcomes).contains("take it away there first"), "{:?}", report.outcomes);

    world.records = RECORDS.to_owned();
    world.undo("a1", "u1").await;
    assert_eq!(state.lock().expect("a state").sets, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn route_53_compares_before_it_swaps() {
    let (state, line) = amazon();
    let (mut world, _dir) = world(&line, RECORDS);
    let plan = world.plan().await;
    // After our last look, before our batch.
    let theirs = (("acme.example.".to_owned(), "MX".to_owned()), (300, vec!["5 theirs.acme.example.".to_owned()]));
    state.lock().expect("a state").faster = Some(theirs.clone());
    let report = world.try_apply(&plan, "a1").await.expect("applies");
    assert_eq!(report.failed, 1, "{report:?}");
    let sets = state.lock().expect("a state").sets.clone();
    assert_eq!(sets[&theirs.0], theirs.1, "theirs holds");
    assert!(sets.contains_key(&("new.acme.example.".to_owned(), "A".to_owned())), "the others are done");

    world.service = world.service.as_ref().map(|s| s.replace("AKIDEXAMPLE", "AKIDWRONG"));
    let seen = world.observe(&world.site()).await;
    let failed = seen.failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(failed.contains("InvalidClientTokenId"), "{failed}");
    world.zone = "view=internal".into();
    let (site, errors) = world.lowered();
    assert!(errors.is_empty() && site.hosts.keys().any(|h| h.0.contains("internal")), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_does_is_refused_and_not_taken_for_done() {
    let (mut world, _dir) = world("type=azure", RECORDS);
    let errors = world.lowered().1;
    assert!(errors.iter().any(|e| e.starts_with("E1037") && e.contains("azure")), "{errors:?}");
    for (line, why) in [
        ("type=cloudflare", "no key"),
        ("type=powerdns", "names no server"),
        ("type=powerdns endpoint=\"http://192.0.2.1:8081\"", "no key"),
        ("type=route53 key=(secret)\"env:K\"", "no account"),
    ] {
        world.service = Some(line.into());
        let errors = world.lowered().1;
        assert!(errors.iter().any(|e| e.starts_with("E1031") && e.contains(why)), "{line}: {errors:?}");
    }
    let empty = serve(|_| (500, "", "down".into()));
    world.service = Some(format!("type=powerdns endpoint=\"http://{empty}\" key=(secret)\"file:/dev/null\""));
    let seen = world.observe(&world.site()).await;
    assert!(seen.failed[0].message.contains("500"), "{:?}", seen.failed);
    assert_eq!(shown(&world.plan().await), [""; 0], "who could not be asked is never without records");
}
