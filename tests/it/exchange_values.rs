//! Values of Exchange: the traps that others fell into, one by one, and that no shape of a value is taken for another value.

#![allow(clippy::unwrap_used)]

use cutover::exchange::dialect::{Property, Shape};
use cutover::exchange::value::{Seen, Value, pairs, passed, read, same, seen, seen_for};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::exchange_dialect::dialect;

fn property(kind: &str, name: &str) -> &'static Property {
    dialect().objects[kind].property(name).unwrap_or_else(|| panic!("{kind} has no {name}"))
}

/// Whether a wish is met by what was returned.
fn met(property: &Property, wish: &Json, returned: &Json) -> bool {
    match seen(property, Some(returned)).unwrap() {
        Seen::Value(value) => same(property, &read(property, wish).unwrap(), &value),
        Seen::Unseen => panic!("{} says nothing", property.name.value),
    }
}

fn drifts(kind: &str, name: &str, wish: Json, returned: &[Json]) -> Vec<Json> {
    let property = property(kind, name);
    returned.iter().filter(|r| !met(property, &wish, r)).cloned().collect()
}

#[track_caller]
fn alike(kind: &str, name: &str, wish: Json, returned: &[Json]) {
    assert_eq!(drifts(kind, name, wish, returned), Vec::<Json>::new());
}

#[track_caller]
fn unlike(kind: &str, name: &str, wish: Json, returned: &[Json]) {
    assert_eq!(drifts(kind, name, wish, returned).len(), returned.len());
}

/// Trap 3: objects that were signed and serialised come as a bag of properties with a text.
#[test]
fn a_signed_object_is_what_it_was() {
    let signed = |text: &str| json!({"$type": "Deserialized.Microsoft.Exchange.Data.X", "$text": text, "SerializationData": [0, 1, 0]});
    alike("mailbox-database", "DeletedItemRetention", json!("14d"), &[signed("14.00:00:00")]);
    alike("receive-connector", "MaxMessageSize", json!("36MB"), &[signed("36 MB (37,748,736 bytes)")]);
    alike("mailbox-database", "OfflineAddressBook", json!("\\Default"), &[signed("\\Default")]);
    // The bag alone, when its text is but the name of its type.
    let bare = json!({"$type": "Deserialized.Unlimited", "$text": "Deserialized.Unlimited", "IsUnlimited": true, "Value": null});
    alike("mailbox-database", "ProhibitSendQuota", json!("unlimited"), &[bare]);
}

/// Trap 3 and 6: some properties are read back as nothing although something is there.
#[test]
fn nothing_is_no_answer_where_the_product_hides_it() {
    for (kind, name) in [("certificate", "Services"), ("send-connector", "TlsAuthLevel")] {
        let property = property(kind, name);
        assert_eq!(seen(property, Some(&Json::Null)), Ok(Seen::Unseen), "{kind}.{name}");
        assert_eq!(seen(property, None), Ok(Seen::Unseen));
    }
    let property = property("send-connector", "Fqdn");
    assert_eq!(seen(property, Some(&Json::Null)), Ok(Seen::Value(Value::Nothing)));
}

/// Trap 4: sizes and their lack.
#[test]
fn sizes_are_octets_or_unlimited() {
    let returned = [
        json!("10 GB (10,737,418,240 bytes)"),
        json!("10 GB (10.737.418.240 bytes)"),
        json!("10 GB (10\u{a0}737\u{a0}418\u{a0}240 bytes)"),
        json!({"IsUnlimited": false, "Value": "10 GB (10,737,418,240 bytes)"}),
        json!({"IsUnlimited": false, "Value": {"$type": "ByteQuantifiedSize", "$text": "10 GB (10,737,418,240 bytes)"}}),
        json!(10_737_418_240_i64),
        json!("10737418240"),
    ];
    for wish in ["10GB", "10 gb", "10GiB", "10240MB", "10737418240"] {
        alike("mailbox-database", "ProhibitSendQuota", json!(wish), &returned);
    }
    unlike("mailbox-database", "ProhibitSendQuota", json!("unlimited"), &returned);
    let none = [
        json!("Unlimited"),
        json!("unlimited"),
        json!({"IsUnlimited": true, "Value": null}),
        json!({"IsUnlimited": "True"}),
    ];
    alike("mailbox-database", "ProhibitSendQuota", json!("Unlimited"), &none);
    unlike("mailbox-database", "ProhibitSendQuota", json!("2TB"), &none);
    alike("migration-batch", "BadItemLimit", json!(27), &[json!("27"), json!({"IsUnlimited": false, "Value": 27})]);
    for odd in [json!("10 pigs"), json!("1.5 GB"), json!({"IsUnlimited": "perhaps"}), json!([1, 2]), json!(-1)] {
        assert!(read(property("mailbox-database", "ProhibitSendQuota"), &odd).is_err(), "{odd}");
    }
}

#[test]
fn spans_of_time_are_ticks() {
    let week = [
        json!("7.00:00:00"),
        json!("P7D"),
        json!("PT168H"),
        json!({"Ticks": 6_048_000_000_000_i64, "Days": 7}),
        json!({"$type": "Microsoft.Exchange.Data.EnhancedTimeSpan", "$text": "7.00:00:00"}),
    ];
    for wish in ["7d", "7", "168h", "7.00:00:00"] {
        alike("mailbox-database", "DeletedItemRetention", json!(wish), &week);
    }
    unlike("mailbox-database", "DeletedItemRetention", json!("6.23:59:59.9999999"), &week);
    alike(
        "mailbox-database",
        "DeletedItemRetention",
        json!("-00:00:01.5"),
        &[json!("-00:00:01.5000000"), json!("-PT1.5S")],
    );
}

/// Trap 5: other objects are named in many ways; the best name that both sides have decides.
#[test]
fn references_meet_by_the_best_name_that_both_have() {
    let oab = json!({"$type": "Microsoft.Exchange.Data.Directory.ADObjectId", "$text": "\\Default OAB", "Name": "Default OAB",
        "DistinguishedName": "CN=Default OAB,CN=Offline Address Lists,DC=acme,DC=example",
        "ObjectGuid": "1fd2670a-902a-840f-79f5-714520e92951"});
    for wish in [
        "Default OAB",
        "default oab",
        "\\Default OAB",
        "cn=default oab,CN=Offline Address Lists,DC=acme,DC=example",
        "{1FD2670A-902A-840F-79F5-714520E92951}",
    ] {
        alike("mailbox-database", "OfflineAddressBook", json!(wish), std::slice::from_ref(&oab));
    }
    for wish in ["Other OAB", "CN=Default OAB,CN=Elsewhere,DC=acme,DC=example", "2fd2670a-902a-840f-79f5-714520e92951"]
    {
        unlike("mailbox-database", "OfflineAddressBook", json!(wish), std::slice::from_ref(&oab));
    }
    // The same last word on two paths is not the same.
    unlike("mailbox-database", "JournalRecipient", json!("acme.example/Sales/Bob"), &[json!("acme.example/Works/Bob")]);
    alike(
        "mailbox-database",
        "JournalRecipient",
        json!("Bob, Jr"),
        &[json!({"$text": "CN=Bob\\, Jr,OU=Sales,DC=acme"})],
    );
}

/// Trap 6: a word that the product shows and does not take.
#[test]
fn custom_permission_groups_are_no_wish() {
    let returned = [
        json!("ExchangeUsers, Custom"),
        json!("Custom, exchangeusers"),
        json!(["ExchangeUsers"]),
        json!({"$text": "ExchangeUsers, Custom"}),
    ];
    alike("receive-connector", "PermissionGroups", json!("ExchangeUsers"), &returned);
    unlike("receive-connector", "PermissionGroups", json!("ExchangeUsers, Partners"), &returned);
    alike(
        "receive-connector",
        "PermissionGroups",
        json!("Partners, ExchangeUsers"),
        &[json!("ExchangeUsers, Partners")],
    );
    alike("receive-connector", "AuthMechanism", json!(null), &[json!("None"), json!("")]);
}

/// A session may leave of a word only its number: that is no answer, and no difference either.
#[test]
fn a_word_that_came_as_its_number_is_not_read() {
    for (kind, name) in [("receive-connector", "AuthMechanism"), ("accepted-domain", "DomainType")] {
        let property = property(kind, name);
        for odd in [
            json!(16),
            json!("16"),
            json!([1, 2]),
            json!({"$type": "Deserialized.Microsoft.Exchange.X", "$text": "16"}),
        ] {
            assert!(seen(property, Some(&odd)).is_err(), "{kind}.{name} {odd}");
        }
        let word = json!({"$type": "Deserialized.Microsoft.Exchange.X", "$text": "Tls"});
        assert!(matches!(seen(property, Some(&word)), Ok(Seen::Value(_))));
    }
}

/// Trap 7: a list with one element is that element; three ways to say nothing.
#[test]
fn lists_of_one_and_of_none() {
    alike(
        "receive-connector",
        "Bindings",
        json!("0.0.0.0:25"),
        &[json!(["0.0.0.0:25"]), json!("0.0.0.0:25"), json!({"value": ["0.0.0.0:25"], "Count": 1})],
    );
    for wish in [json!(null), json!([]), json!(""), json!([null])] {
        alike("send-connector", "SmartHosts", wish, &[json!(null), json!([]), json!(""), json!({})]);
    }
    unlike("send-connector", "SmartHosts", json!([]), &[json!(["relay.acme.example"])]);
    alike("transport-config", "MaxDumpsterTime", json!("7d"), &[json!(["7.00:00:00"])]);
}

/// Trap 9: lag times come as pairs of a server and a span.
#[test]
fn pairs_are_read_for_their_server() {
    let lag = property("mailbox-database-copy", "ReplayLagTime");
    let server = |name: &str| json!({"$text": name, "Name": name});
    for returned in [
        json!(["[MBX-1, 00:00:00]", "[MBX-2, 7.00:00:00]"]),
        json!([{"Key": server("MBX-1"), "Value": "00:00:00"}, {"Key": server("MBX-2"), "Value": {"Ticks": 6_048_000_000_000_i64}}]),
        json!([{"$text": "[MBX-1, 00:00:00]"}, {"$text": "[mbx-2, 7.00:00:00]"}]),
    ] {
        let Ok(Seen::Value(value)) = seen_for(lag, Some(&returned), "MBX-2") else { panic!("{returned}") };
        assert!(same(lag, &read(lag, &json!("7d")).unwrap(), &value), "{returned}");
        assert_eq!(seen_for(lag, Some(&returned), "MBX-3"), Ok(Seen::Unseen));
        assert_eq!(pairs(&returned).unwrap().len(), 2);
    }
    assert!(seen_for(lag, Some(&json!(["MBX-1"])), "MBX-1").is_err());
}

/// Trap 11: no wildcards, and how often an element is there counts.
#[test]
fn comparison_is_literal_and_counts() {
    unlike("receive-connector", "Bindings", json!(["*"]), &[json!(["0.0.0.0:25"]), json!("[abc]")]);
    unlike("receive-connector", "Bindings", json!(["a:25", "a:25"]), &[json!(["a:25"]), json!(["a:25", "b:25"])]);
    alike("receive-connector", "Bindings", json!(["a:25", "B:25"]), &[json!(["b:25", "A:25"])]);
    unlike("receive-connector", "Banner", json!("220 mail"), &[json!("220 Mail"), json!("220 *")]);
    // Where mail is tried first is a matter of order.
    unlike("send-connector", "SmartHosts", json!(["a.example", "b.example"]), &[json!(["b.example", "a.example"])]);
}

#[test]
fn words_of_the_product_have_one_form() {
    alike(
        "owa-virtual-directory",
        "ExternalUrl",
        json!("https://Mail.acme.example:443"),
        &[json!("https://mail.acme.example/"), json!({"AbsoluteUri": "https://mail.acme.example/"})],
    );
    unlike(
        "owa-virtual-directory",
        "ExternalUrl",
        json!("https://mail.acme.example/OWA"),
        &[json!("https://mail.acme.example/owa")],
    );
    alike(
        "send-connector",
        "AddressSpaces",
        json!(["*", "acme.example;5"]),
        &[json!(["SMTP:acme.example;5", "smtp:*;1"])],
    );
    unlike("send-connector", "AddressSpaces", json!("*"), &[json!("SMTP:*;2"), json!("X400:*;1")]);
    alike(
        "mailbox",
        "EmailAddresses",
        json!(["SMTP:Ann@acme.example", "a@acme.example"]),
        &[json!(["smtp:a@acme.example", "SMTP:ann@acme.example"])],
    );
    unlike("mailbox", "EmailAddresses", json!(["SMTP:ann@acme.example"]), &[json!(["smtp:ann@acme.example"])]);
    alike(
        "auth-config",
        "NewCertificateEffectiveDate",
        json!("2026-01-01T00:00:00Z"),
        &[json!("2026-01-01T00:00:00.0000000Z"), json!("2026-01-01T01:00:00+01:00"), json!("/Date(1767225600000)/")],
    );
    alike(
        "send-connector",
        "SourceIPAddress",
        json!("2001:db8::1"),
        &[json!("2001:DB8:0:0:0:0:0:1"), json!({"IPAddressToString": "2001:db8::1"})],
    );
    alike(
        "mailbox-database",
        "MountAtStartup",
        json!(true),
        &[json!("True"), json!({"$text": "True", "$type": "SwitchParameter"})],
    );
}

fn bare(shape: Shape, list: bool, ordered: bool) -> Property {
    let any = property("send-connector", "Fqdn").clone();
    Property { shape, list, ordered, ..any }
}

/// A wish of a shape, and its value as each kind of session returns it.
fn shaped() -> impl Strategy<Value = (Shape, Json, Vec<Json>)> {
    let text = "[a-z]{1,8}( [a-z]{1,8})?";
    let object = |text: &str| json!({"$type": "Vendor.T", "$text": text, "SerializationData": "AAEAAAD"});
    let both = move |shape: Shape, wish: Json, text: String| (shape, wish, vec![json!(text), object(&text)]);
    prop_oneof![
        any::<bool>().prop_map(move |b| both(Shape::Bool, json!(b), if b { "True" } else { "False" }.to_owned())),
        any::<i32>().prop_map(move |i| both(Shape::Int, json!(i), i.to_string())),
        (0_u64..1 << 44).prop_map(move |b| {
            let grouped = b
                .to_string()
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|c| std::str::from_utf8(c).unwrap().to_owned())
                .collect::<Vec<_>>();
            both(Shape::BytesOrUnlimited, json!(b.to_string()), format!("{} MB ({} bytes)", b >> 20, grouped.join(",")))
        }),
        (-(1_i64 << 52)..1 << 52).prop_map(|ticks| {
            let wish = json!({"Ticks": ticks});
            let text = passed(
                &bare(Shape::Timespan, false, false),
                &read(&bare(Shape::Timespan, false, false), &wish).unwrap(),
            );
            (Shape::Timespan, wish, vec![text.clone(), json!({"$text": text})])
        }),
        text.prop_map(move |t| both(Shape::Text, json!(t), t.clone())),
        text.prop_map(move |t| both(Shape::Name, json!(t), t.to_uppercase())),
        text.prop_map(move |t| both(Shape::Reference, json!(t), t.to_uppercase())),
    ]
}

proptest! {
    /// No false drift, and what is passed is read back as what was wished.
    #[test]
    fn a_value_is_itself_in_every_shape((shape, wish, returned) in shaped()) {
        let property = bare(shape, false, false);
        let wished = read(&property, &wish).unwrap();
        prop_assert!(same(&property, &wished, &read(&property, &passed(&property, &wished)).unwrap()));
        for r in returned {
            prop_assert!(same(&property, &wished, &read(&property, &r).unwrap()), "{wish} and {r}");
            let listed = json!([r]);
            prop_assert!(same(&property, &wished, &read(&property, &listed).unwrap()));
        }
    }

    /// Another value is another value.
    #[test]
    fn no_two_values_are_one((shape, a, _) in shaped(), (other, b, _) in shaped()) {
        let property = bare(shape, false, false);
        if shape == other {
            let (x, y) = (read(&property, &a).unwrap(), read(&property, &b).unwrap());
            prop_assert_eq!(same(&property, &x, &y), a == b);
        }
    }

    /// Lists without order are the same however they are turned, and another as soon as one element goes.
    #[test]
    fn order_is_no_drift(list in proptest::collection::vec("[a-c]{1,2}", 1..8), turn in 0_usize..8) {
        let property = bare(Shape::Name, true, false);
        let mut turned = list.clone();
        turned.rotate_left(turn % list.len());
        let value = |l: &[String]| read(&property, &json!(l)).unwrap();
        prop_assert!(same(&property, &value(&list), &value(&turned)));
        turned.pop();
        prop_assert!(!same(&property, &value(&list), &value(&turned)));
        let ordered = bare(Shape::Name, true, true);
        turned = list.clone();
        turned.rotate_left(turn % list.len());
        prop_assert_eq!(same(&ordered, &value(&list), &value(&turned)), list == turned);
    }

    /// Whatever a server returns, it is read or refused.
    #[test]
    fn reading_never_panics(text in "\\PC{0,30}", n in any::<i64>(), at in 0_usize..22) {
        let shape = Shape::ALL[at].1;
        for json in [json!(text), json!(n), json!([text, n]), json!({"$text": text, "Value": n}), json!({"Ticks": text}), json!({"IsUnlimited": text})] {
            for list in [false, true] {
                let property = bare(shape, list, false);
                let _ = read(&property, &json);
                let _ = seen_for(&property, Some(&json), &text);
            }
        }
    }
}
