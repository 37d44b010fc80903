//! Fills the digests of desired content, so that planning can compare without seeing a value.

use std::collections::BTreeMap;

use super::{Resolve, SecretError};
use crate::model::attr::{Attr, Digest};
use crate::model::site::Site;

/// Gives each `Content` of the site the digest that its host must show: SHA-256 of the content, masked by the state key where
/// a secret is in it. All references that cannot be read are named at once.
pub async fn seal(site: &mut Site, resolver: &impl Resolve, state_key: &str) -> Result<(), Vec<SecretError>> {
    let mut digests = BTreeMap::new();
    let mut errors = Vec::new();
    for (id, body) in &site.bodies {
        match resolver.content(body).await {
            Ok(content) if body.sensitive() => digests.insert(id.clone(), Digest::masked(state_key, &content)),
            Ok(content) => digests.insert(id.clone(), Digest::of(&content)),
            Err(e) => {
                errors.push(e);
                None
            }
        };
    }
    if !errors.is_empty() {
        errors.sort_by(|a, b| a.reference.cmp(&b.reference));
        errors.dedup();
        return Err(errors);
    }
    let later = site.retirements.values_mut().flat_map(|r| r.forwards.iter_mut().chain(&mut r.stops));
    for attr in site.resources.iter_mut().chain(later).flat_map(|r| r.attrs.values_mut()) {
        if let Attr::Content(content) = attr {
            content.digest = digests.get(&content.id).cloned();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Resolver;
    use super::*;
    use crate::model::address::{Address, HostName, Kind};
    use crate::model::attr::{Attrs, Body, Content, SecretRef, Segment};
    use crate::model::resource::Resource;
    use crate::model::source::Origin;

    fn site(bodies: Vec<Body>) -> Site {
        let mut site = Site::default();
        for (n, body) in bodies.into_iter().enumerate() {
            let content = Content { id: body.intent(), digest: None, sensitive: body.sensitive() };
            let host = HostName::from("a");
            site.resources.push(Resource {
                address: Address::new(&host, Kind::File, format!("/{n}")),
                attrs: Attrs::from([("content", Attr::Content(content))]),
                group: "server.a/x".into(),
                stage: 3,
                after: vec![],
                notifies: vec![],
                protect: false,
                owner: "server:a".into(),
                origin: Origin::default(),
            });
            site.bodies.insert(body.intent(), body);
        }
        site
    }

    fn digest(site: &Site, n: usize) -> String {
        match site.resources[n].attrs.get("content").expect("content") {
            Attr::Content(c) => c.digest.clone().expect("sealed").0,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn plain_content_has_its_digest_and_secret_content_a_masked_one() {
        let secret = Body { segments: vec![Segment::Text("p=".into()), Segment::Secret(SecretRef("env:P".into()))] };
        let mut site = site(vec![Body::text("hello\n"), secret]);
        let resolver = Resolver::fixed([("env:P", "s3cret")]);
        seal(&mut site, &resolver, "k").await.expect("sealed");
        assert_eq!(digest(&site, 0), Digest::of(b"hello\n").0);
        assert_eq!(digest(&site, 1), Digest::masked("k", b"p=s3cret").0);
    }

    #[tokio::test]
    async fn every_unreadable_secret_is_named_once() {
        let body = |n: &str, t: &str| Body {
            segments: vec![Segment::Text(t.into()), Segment::Secret(SecretRef(format!("env:{n}")))],
        };
        let mut site = site(vec![body("A", "1"), body("A", "2"), body("B", "3")]);
        let errors = seal(&mut site, &Resolver::fixed([]), "k").await.expect_err("missing");
        let names: Vec<&str> = errors.iter().map(|e| e.reference.as_str()).collect();
        assert_eq!(names, ["env:A", "env:B"]);
    }
}
