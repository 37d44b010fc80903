//! What a server of EWS may answer that is none, or a bad one: each is understood or refused, within bounds. The answers are written here; the client asks over a real socket.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cutover::services::cms::mailbox::{Changes, Class, Fault, Folder, FolderPath};
use cutover::services::cms::source::Source;

use super::support::ends::{access, end};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n";

/// As Exchange writes it: another prefix, indented, with the older server's version.
fn soap(body: &str) -> String {
    format!(
        "{OK}<?xml version=\"1.0\" encoding=\"utf-8\" ?>\r\n<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"\r\n    xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\r\n\
         \x20 <soap:Header>\r\n    <t:ServerVersionInfo MajorVersion=\"8\" MinorVersion=\"0\" MajorBuildNumber=\"628\" MinorBuildNumber=\"0\"\r\n      xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\" />\r\n\
         \x20 </soap:Header>\r\n  <soap:Body>{body}</soap:Body>\r\n</soap:Envelope>"
    )
}

fn message(operation: &str, content: &str) -> String {
    soap(&format!(
        "<{operation}Response xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\" xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"\
          xmlns=\"http://schemas.microsoft.com/exchange/services/2006/messages\"><m:ResponseMessages><m:{operation}ResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode>\
          {content}</m:{operation}ResponseMessage></m:ResponseMessages></{operation}Response>"
    ))
}

fn root() -> String {
    message(
        "GetFolder",
        "<m:Folders><t:Folder><t:FolderId Id=\"AAA=\" ChangeKey=\"AQ==\" /><t:DisplayName>x</t:DisplayName><t:TotalCount>3</t:TotalCount></t:Folder></m:Folders>",
    )
}

/// Answers one connection after another; the last answer again and again, where `endless` without end.
fn server(answers: Vec<String>, endless: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/EWS/Exchange.asmx", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (n, socket) in listener.incoming().enumerate() {
            let mut socket = socket.unwrap();
            let mut held = Vec::new();
            let mut piece = [0; 4096];
            while !String::from_utf8_lossy(&held).contains("</s:Envelope>") {
                match socket.read(&mut piece).unwrap_or(0) {
                    0 => break,
                    n => held.extend_from_slice(&piece[..n]),
                }
            }
            let last = n + 1 >= answers.len();
            let _ = socket.write_all(answers[n.min(answers.len() - 1)].as_bytes());
            // A client that goes on reading gets half a gigabyte.
            let many = endless.repeat((64 << 10) / endless.len().max(1));
            for _ in 0..if last && !endless.is_empty() { 8192 } else { 0 } {
                if socket.write_all(many.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    url
}

fn connected(answers: Vec<String>, endless: &'static str) -> Result<Source, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = end(&format!("kind = \"ews\"\nurl = \"{}\"\ntimeout = \"5s\"\n", server(answers, endless)));
    runtime.block_on(Source::connect(&end, &access("x")))
}

#[test]
fn hostile_and_cut_answers_are_refused_within_bounds() {
    let whole = root();
    for (answer, endless, class, words) in [
        (whole[..whole.len() - 40].to_owned(), "", Class::Unreachable, "ends in its middle"),
        (OK.to_owned(), "", Class::Unreachable, "ends in its middle"),
        (format!("{OK}<!DOCTYPE a [<!ENTITY b \"&c;&c;\">]><a>&b;</a>"), "", Class::Protocol, "SOAP does not have"),
        (format!("{OK}<a>&b;</a>"), "", Class::Protocol, "an entity"),
        (format!("{OK}<a x=\""), "x", Class::Protocol, "a tag without end"),
        (format!("{OK}<!-- "), "-", Class::Protocol, "without end"),
        (format!("{OK}<a>"), "<b>", Class::Protocol, "too many inside each other"),
        (format!("{OK}<a ResponseClass=\"Success\">"), "<b/>", Class::Protocol, "an answer without end"),
        (format!("{OK}<a ResponseClass=\"Success\">"), "text ", Class::Protocol, "an answer without end"),
        (format!("{OK}<html><body>Sign in</body></html>"), "", Class::Protocol, "says nothing"),
        (format!("{OK}Sign in"), "", Class::Protocol, "no XML"),
        ("HTTP/1.1 500 x\r\nConnection: close\r\n\r\n".to_owned(), "<b/>", Class::Busy, "HTTP 500"),
    ] {
        let began = Instant::now();
        let fault = connected(vec![answer.clone()], endless).map(drop).expect_err(&answer);
        assert_eq!(fault.class, class, "{answer:.200}: {fault}");
        assert!(fault.what.contains(words), "{answer:.200}: {fault}");
        assert!(began.elapsed() < Duration::from_secs(20), "{answer:.200}");
    }
}

#[test]
fn refusals_of_http_and_soap_say_what_to_do() {
    let fault = |body: &str| {
        format!(
            "HTTP/1.1 500 x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let busy = fault(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><faultcode xmlns:a=\"http://schemas.microsoft.com/exchange/services/2006/types\">a:ErrorServerBusy</faultcode>\
         <faultstring xml:lang=\"en-US\">The server cannot service this request right now. Try again later.</faultstring><detail><e:ResponseCode xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">ErrorServerBusy</e:ResponseCode>\
         <t:MessageXml xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"><t:Value Name=\"BackOffMilliseconds\">25000</t:Value></t:MessageXml></detail></s:Fault></s:Body></s:Envelope>",
    );
    for (answer, class, words, after) in [
        (busy, Class::Busy, "ErrorServerBusy", Some(25)),
        (
            "HTTP/1.1 401 x\r\nWWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
                .to_owned(),
            Class::Login,
            "Basic authentication",
            None,
        ),
        (
            "HTTP/1.1 401 x\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Class::Login,
            "401",
            None,
        ),
        (
            "HTTP/1.1 302 x\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Class::Protocol,
            "leads elsewhere",
            None,
        ),
        ("HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n".to_owned(), Class::Permission, "403", None),
        ("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n".to_owned(), Class::TooLarge, "413", None),
        ("HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".to_owned(), Class::Busy, "503", Some(7)),
    ] {
        let fault = connected(vec![answer.clone()], "").map(drop).expect_err(&answer);
        assert_eq!((fault.class, fault.after.map(|a| a.as_secs())), (class, after), "{answer}: {fault}");
        assert!(fault.what.contains(words), "{answer}: {fault}");
    }
}

/// The forms of Microsoft's reference: meeting requests and reports are mail, each change has its own element.
#[test]
fn answers_as_the_reference_writes_them_are_read() {
    let changes = message(
        "SyncFolderItems",
        "<m:SyncState>H4sIAAA=</m:SyncState><m:IncludesLastItemInRange>true</m:IncludesLastItemInRange>\r\n<m:Changes>\r\n  <t:Create>\r\n    <t:MeetingRequest>\r\n      <t:ItemId Id=\"AQApAHRwA==\" ChangeKey=\"CwAAABYA\" />\
         <t:ItemClass>IPM.Schedule.Meeting.Request</t:ItemClass><t:DateTimeReceived>2006-08-02T17:30:00Z</t:DateTimeReceived><t:Size>4711</t:Size><t:Categories><t:String>Büro</t:String></t:Categories>\
         <t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0xe07\" PropertyType=\"Integer\" /><t:Value>9</t:Value></t:ExtendedProperty>\
         <t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0x1090\" PropertyType=\"Integer\" /><t:Value>2</t:Value></t:ExtendedProperty><t:IsRead>true</t:IsRead></t:MeetingRequest></t:Create>\
         <t:Delete><t:ItemId Id=\"AQApAHRxA==\" ChangeKey=\"CwAAABYA\" /></t:Delete></m:Changes>",
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = end(&format!("kind = \"ews\"\nurl = \"{}\"\n", server(vec![root(), root(), changes], "")));
    runtime.block_on(async {
        let mut source = Source::connect(&end, &access("x")).await.unwrap();
        let mark = source.open(&Folder::plain(FolderPath::inbox(), b"AAA=".to_vec())).await.unwrap();
        assert_eq!(mark.count, 3);
        let Changes::Whole(seen) = source.changes(None).await.unwrap() else { panic!() };
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].id.0.as_str(), seen[0].size), ("AQApAHRwA==", Some(4711)));
        assert_eq!(seen[0].flags.to_string(), "\\Flagged \\Seen \\Draft B&APw-ro");
        assert_eq!(seen[0].date.unwrap().at.to_string(), "2006-08-02T17:30:00Z");
        assert_eq!(source.reached(mark).state.as_deref(), Some("H4sIAAA="));
    });
}
