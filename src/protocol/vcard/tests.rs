//! Of all three versions, with the examples that their standards give, and with what real programs wrote.

use proptest::prelude::*;

use super::*;

const V3: Form = Form { version: Version::V3, careful: false };
const CAREFUL: Form = Form { version: Version::V3, careful: true };
const V4: Form = Form { version: Version::V4, careful: false };
const V2: Form = Form { version: Version::V2, careful: false };

fn read(text: &[u8]) -> Vec<Card> {
    let (cards, bad) = parse(text);
    assert_eq!(bad, []);
    cards
}

fn lines(text: &[&str]) -> Vec<u8> {
    (text.join("\r\n") + "\r\n").into_bytes()
}

/// RFC 2426 section 7, shortened.
#[test]
fn version_3_is_read_with_folds_pictures_and_dates() {
    let cards = read(&lines(&[
        "BEGIN:vCard",
        "VERSION:3.0",
        "FN:Frank Dawson",
        "N:Dawson;Frank;;;",
        "ORG:Lotus Development\\, Corp;Sales",
        "ADR;TYPE=WORK,POSTAL,PARCEL:;;6544 Battleford Drive",
        " ;Raleigh;NC;27613-3502;U.S.A.",
        "TEL;TYPE=VOICE,MSG,pref,WORK:+1-919-676-9515",
        "EMAIL;TYPE=INTERNET,PREF:Frank_Dawson@Lotus.com",
        "BDAY:1996-04-15T10:22:00Z",
        "PHOTO;ENCODING=b;TYPE=JPEG:AAEC",
        " AwQF",
        "item1.URL:http\\://home.earthlink.net/~fdawson",
        "item1.X-ABLabel:_$!<HomePage>!$_",
        "GEO:37.386013;-122.082932",
        "X-FOO;X-BAR=\"a;b:c\":kept\\; as it, is",
        "END:vCard",
    ]));
    let card = &cards[0];
    let value = |n: &str| card.get(n).map(|p| p.value.as_str()).unwrap_or_default();
    assert_eq!(value("ADR"), ";;6544 Battleford Drive;Raleigh;NC;27613-3502;U.S.A.");
    assert_eq!(value("BDAY"), "19960415T102200Z");
    assert_eq!(value("PHOTO"), "data:image/jpeg;base64,AAECAwQF");
    assert_eq!(value("URL"), "http://home.earthlink.net/~fdawson");
    assert_eq!(value("GEO"), "geo:37.386013,-122.082932");
    assert_eq!(value("X-FOO"), "kept\\; as it, is");
    assert_eq!(card.get("X-FOO").map(|p| p.parameter("X-BAR")), Some(&["a;b:c".to_owned()][..]));
    let tel = card.get("TEL").expect("tel");
    assert_eq!(
        (tel.parameter("PREF"), tel.parameter("TYPE")),
        (&["1".into()][..], &["voice".into(), "msg".into(), "work".into()][..])
    );
    for form in [V3, CAREFUL, V4] {
        let again = read(write(card, form).text.as_bytes());
        assert_eq!(card.missing_in(&again[0]), Vec::<String>::new(), "{form:?}");
    }
}

/// As Outlook and old telephones write it: bare parameters, quoted-printable with soft ends, a charset, base64 with a blank line.
#[test]
fn version_2_1_is_read_with_its_encodings() {
    let cards = read(
        b"BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;J=F6rg=\n;;Dr.=3B;\n\
          FN;CHARSET=windows-1252:J\xf6rg M\xfcller\nTEL;HOME;VOICE;PREF:+49 30 1\nADR;WORK;ENCODING=QUOTED-PRINTABLE:;;Weg 1=0D=0AHinterhaus, 2. OG;Ort;;1;D\n\
          NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0Atwo; three, four=\n five\nPHOTO;TYPE=GIF;ENCODING=BASE64:\n  AAEC\n  AwQF\n\nBDAY:19700102\nEND:VCARD\n",
    );
    let card = &cards[0];
    let value = |n: &str| card.get(n).map(|p| p.value.as_str()).unwrap_or_default();
    assert_eq!(value("N"), "M\u{fc}ller;J\u{f6}rg;;Dr.;;");
    assert_eq!(card.text("FN").as_deref(), Some("J\u{f6}rg M\u{fc}ller"));
    assert_eq!(value("ADR"), ";;Weg 1\\nHinterhaus\\, 2. OG;Ort;;1;D");
    assert_eq!(card.text("NOTE").as_deref(), Some("one\ntwo; three, four five"));
    assert_eq!(value("PHOTO"), "data:image/gif;base64,AAECAwQF");
    assert_eq!(card.get("TEL").map(|p| p.parameter("TYPE").join(",")), Some("home,voice".into()));
    for form in [V2, V3, V4] {
        let again = read(write(card, form).text.as_bytes());
        assert_eq!(card.missing_in(&again[0]), Vec::<String>::new(), "{form:?}\n{}", write(card, form).text);
    }
}

#[test]
fn groups_members_and_version_4_are_read_from_both_ways_to_write_them() {
    let four = lines(&[
        "BEGIN:VCARD",
        "VERSION:4.0",
        "UID:g",
        "KIND:group",
        "FN:All",
        "MEMBER:urn:uuid:1",
        "MEMBER:urn:uuid:2",
        "RELATED;TYPE=friend:urn:uuid:3",
        "N;SORT-AS=\"a,b\";ALTID=1;X-Q=^'x^n^^:;;;;",
        "END:VCARD",
    ]);
    let card = read(&four).remove(0);
    assert!(card.is_group());
    let three = write(&card, V3).text;
    assert!(
        three.contains("X-ADDRESSBOOKSERVER-KIND:group\r\nFN:All\r\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:1"),
        "{three}"
    );
    assert_eq!(card.missing_in(&read(three.as_bytes())[0]), Vec::<String>::new());
    assert_eq!(card.get("N"), None);
    let quotes = card.properties.iter().find(|p| p.name == "N").map(|p| p.parameter("X-Q").to_vec());
    assert_eq!(quotes, Some(vec!["\"x\n^".to_owned()]));
    assert!(write(&card, V4).text.contains("X-Q=^'x^n^^"));
    assert_eq!(write(&card, V3).lost, ["N: X-Q=\"x\n^"], "3.0 has no place for a quote in a parameter");
}

/// A file of broken and whole cards gives the whole ones and says each of the others.
#[test]
fn what_cannot_be_read_is_said_with_its_line() {
    let (cards, bad) = parse(
        b"hello\r\nBEGIN:VCARD\r\nFN:a\r\nBEGIN:VCARD\r\nFN:b\r\nno colon here\r\nPHOTO;ENCODING=b:???\r\nNOTE;CHARSET=klingon:x\r\nEND:VCARD\r\nBEGIN:VCARD\r\nFN:c\r\n",
    );
    assert_eq!(cards.iter().map(Card::shown).collect::<Vec<_>>(), ["b"]);
    let said: Vec<String> = bad.iter().map(ToString::to_string).collect();
    assert_eq!(bad.iter().map(|b| b.line).collect::<Vec<_>>(), [1, 2, 6, 7, 8, 10], "{said:#?}");
    let big = [b"BEGIN:VCARD\r\nFN:big\r\nNOTE:".as_slice(), &vec![b'x'; MOST], b"\r\nEND:VCARD\r\n"].concat();
    let (cards, bad) = parse(&big);
    assert!(cards.is_empty() && bad[0].what.contains("octets") && bad[0].words == "FN:big", "{bad:?}");
}

#[test]
fn a_card_in_a_card_and_utf_16_are_read() {
    let card = read(&lines(&[
        "BEGIN:VCARD",
        "VERSION:2.1",
        "FN:a",
        "AGENT:",
        "BEGIN:VCARD",
        "FN:in; side",
        "END:VCARD",
        "TITLE:t",
        "END:VCARD",
    ]))
    .remove(0);
    assert_eq!(card.text("AGENT").as_deref(), Some("BEGIN:VCARD\nFN:in; side\nEND:VCARD"));
    assert_eq!(card.text("TITLE").as_deref(), Some("t"));
    let wide: Vec<u8> =
        "\u{feff}BEGIN:VCARD\r\nFN:\u{f6}\r\nEND:VCARD\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(read(&wide)[0].text("FN").as_deref(), Some("\u{f6}"));
}

/// A card without UID has the same one at each reading; a program that writes the date of today into REV changes nothing.
#[test]
fn identity_and_digest_do_not_hang_on_spelling() {
    let one =
        read(b"BEGIN:VCARD\nVERSION:3.0\nFN:a\\, b\nTEL;TYPE=home;TYPE=CELL:1\nCATEGORIES:x,y\nREV:1\nEND:VCARD\n")
            .remove(0);
    let two = read(
        b"BEGIN:VCARD\nVERSION:4.0\nREV:2\nCATEGORIES:y,x\nTEL;TYPE=\"cell,home\":1\nFN:a\\, b\nN:;;;;\nEND:VCARD\n",
    )
    .remove(0);
    let _ = &two;
    let three =
        read(b"BEGIN:VCARD\nVERSION:4.0\nREV:2\nCATEGORIES:y,x\nTEL;TYPE=cell,home:1\nFN:a\\, b\nN:;;;;\nEND:VCARD\n")
            .remove(0);
    assert_eq!(one.canonical(), three.canonical());
    assert_eq!(one.uid(), three.uid());
    assert_eq!(one.uid().len(), 32);
}

fn word() -> impl Strategy<Value = String> {
    "[ -~\u{e4}\u{4e2d}\u{1f600}\n]{0,40}"
}

fn card() -> impl Strategy<Value = Card> {
    let texts = proptest::collection::vec((prop_oneof!["FN", "NOTE", "TITLE", "EMAIL", "X-[A-Z]{1,8}"], word()), 1..8);
    let names = proptest::collection::vec(word(), 5);
    let tags = proptest::collection::vec(word(), 0..4);
    let photo = proptest::collection::vec(any::<u8>(), 0..300);
    let kinds = proptest::collection::vec("[a-z]{1,6}", 0..3);
    (texts, names, tags, photo, kinds, any::<bool>()).prop_map(|(texts, names, tags, photo, kinds, dated)| {
        use base64::Engine as _;
        let mut card = Card::default();
        for (name, text) in texts {
            let mut property = Property::text(&name, &text);
            kinds.iter().filter(|k| *k != "pref").for_each(|k| property.add("TYPE", k));
            property.parameters.iter_mut().for_each(|(_, v)| {
                v.sort();
                v.dedup();
            });
            card.push(property);
        }
        card.push(Property::parts("N", &names));
        card.push(Property::raw("CATEGORIES", &tags.iter().map(|t| escape(t)).collect::<Vec<_>>().join(",")));
        if !photo.is_empty() {
            let packed = base64::engine::general_purpose::STANDARD.encode(photo);
            card.push(Property::raw("PHOTO", &format!("data:image/png;base64,{packed}")));
        }
        if dated {
            card.push(Property::raw("BDAY", "19700102"));
        }
        card.properties.insert(0, Property::text("UID", "u"));
        card
    })
}

proptest! {
    /// Nothing of a card is lost in any version, and what is read of what was written is written the same again.
    #[test]
    fn what_is_written_is_read_again(card in card()) {
        for form in [V4, V3, CAREFUL, V2] {
            let written = write(&card, form);
            let (again, bad) = parse(written.text.as_bytes());
            prop_assert_eq!(&bad, &[]);
            // White space at the end of an address counts for nothing; in texts it does.
            prop_assert_eq!(card.missing_in(&again[0]), Vec::<String>::new(), "{:?}\n{}", form, written.text);
            prop_assert_eq!(&write(&again[0], form).text, &written.text, "{:?}", form);
        }
    }

    #[test]
    fn whatever_comes_is_read_without_end_or_panic(octets in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b';'), Just(b':'), Just(b'='), Just(b'"')], 0..400)) {
        let whole = [b"BEGIN:VCARD\nVERSION:2.1\n".as_slice(), &octets, b"\nEND:VCARD\n"].concat();
        let (cards, _) = parse(&whole);
        for card in cards {
            let _ = (write(&card, V2), write(&card, V3), write(&card, V4), card.canonical());
        }
        let _ = parse(&octets);
    }

    #[test]
    fn dates_are_read_and_written(text in "[0-9T:Z-]{0,20}") {
        if let Some(date) = super::neutral::date(&text) {
            prop_assert_eq!(super::neutral::date(&super::neutral::extended(&date)), Some(date.clone()), "{}", date);
        }
    }
}
