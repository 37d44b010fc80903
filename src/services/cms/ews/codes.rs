//! Of which class an answer of EWS is, by its response code.
//!
//! Codes: the enumeration `ResponseCodeType` of Microsoft's schema (messages.xsd) and the page of the ResponseCode element; what each means for a move stands
//! here. The pages of EWS throttling give BackOffMilliseconds of ErrorServerBusy.

use std::time::Duration;

use super::xml::Node;
use super::{Class, Fault};
use crate::services::cms::wire::shown;

/// Nobody is asked to wait for more than a day.
const PATIENCE: u64 = 86_400_000;

const CODES: &[(&str, Class)] = &[
    // Patience.
    ("ErrorServerBusy", Class::Busy),
    ("ErrorTimeoutExpired", Class::Busy),
    ("ErrorInternalServerTransientError", Class::Busy),
    ("ErrorMailboxStoreUnavailable", Class::Busy),
    ("ErrorConnectionFailed", Class::Busy),
    ("ErrorExceededConnectionCount", Class::Busy),
    ("ErrorMailboxMoveInProgress", Class::Busy),
    ("ErrorMailboxFailover", Class::Busy),
    ("ErrorADUnavailable", Class::Busy),
    ("ErrorADOperation", Class::Busy),
    ("ErrorInsufficientResources", Class::Busy),
    ("ErrorNoRespondingCASInDestinationSite", Class::Busy),
    ("ErrorTooManyObjectsOpened", Class::Busy),
    ("ErrorFolderSavePropertyError", Class::Busy),
    ("ErrorIrresolvableConflict", Class::Busy),
    ("ErrorStaleObject", Class::Busy),
    ("ErrorChangeKeyRequiredForWriteOperations", Class::Protocol),
    ("ErrorBatchProcessingStopped", Class::Busy),
    ("ErrorMessageTrackingTransientError", Class::Busy),
    // The account.
    ("ErrorAccessDenied", Class::Permission),
    ("ErrorCreateItemAccessDenied", Class::Permission),
    ("ErrorImpersonateUserDenied", Class::Permission),
    ("ErrorImpersonationDenied", Class::Permission),
    ("ErrorImpersonationFailed", Class::Permission),
    ("ErrorDelegateNoUser", Class::Permission),
    ("ErrorCannotDeleteObject", Class::Permission),
    ("ErrorDeleteDistinguishedFolder", Class::Permission),
    ("ErrorUserNotUnifiedMessagingEnabled", Class::Permission),
    ("ErrorAccountDisabled", Class::Login),
    ("ErrorPasswordExpired", Class::Login),
    ("ErrorPasswordChangeRequired", Class::Login),
    ("ErrorLogonAsNetworkServiceFailed", Class::Login),
    ("ErrorMailboxLogonFailed", Class::Login),
    ("ErrorNonExistentMailbox", Class::Login),
    ("ErrorMailboxConfiguration", Class::Login),
    ("ErrorMissingEmailAddress", Class::Login),
    ("ErrorMissingInformationEmailAddress", Class::Login),
    ("ErrorNonPrimarySmtpAddress", Class::Login),
    ("ErrorNoPublicFolderReplicaAvailable", Class::Login),
    ("ErrorInvalidUserPrincipalName", Class::Login),
    ("ErrorInvalidUserSid", Class::Login),
    ("ErrorUserNotAllowedByPolicy", Class::Login),
    // Room.
    ("ErrorQuotaExceeded", Class::Quota),
    ("ErrorMessageSizeExceeded", Class::TooLarge),
    ("ErrorAttachmentSizeLimitExceeded", Class::TooLarge),
    ("ErrorContentConversionFailed", Class::Malformed),
    ("ErrorMimeContentInvalid", Class::Malformed),
    ("ErrorMimeContentInvalidBase64String", Class::Malformed),
    ("ErrorMimeContentConversionFailed", Class::Malformed),
    ("ErrorCorruptData", Class::Malformed),
    ("ErrorItemCorrupt", Class::Malformed),
    ("ErrorItemSave", Class::Malformed),
    ("ErrorItemSavePropertyError", Class::Malformed),
    ("ErrorItemPropertyRequestFailed", Class::Malformed),
    ("ErrorPropertyValidationFailure", Class::Malformed),
    ("ErrorInboxRulesValidationError", Class::Malformed),
    ("ErrorInvalidUserOofSettings", Class::Malformed),
    // Gone.
    ("ErrorItemNotFound", Class::Vanished),
    ("ErrorFolderNotFound", Class::Vanished),
    ("ErrorSyncFolderNotFound", Class::Vanished),
    ("ErrorParentFolderNotFound", Class::Vanished),
    ("ErrorToFolderNotFound", Class::Vanished),
    ("ErrorObjectTypeChanged", Class::Vanished),
    // The server cannot do it.
    ("ErrorUnsupportedMimeConversion", Class::Unsupported),
    ("ErrorUnsupportedTypeForConversion", Class::Unsupported),
    ("ErrorInvalidOperation", Class::Unsupported),
    ("ErrorUnsupportedSubFilter", Class::Unsupported),
    ("ErrorInvalidServerVersion", Class::Unsupported),
    ("ErrorFolderExists", Class::Protocol),
    ("ErrorSchemaValidation", Class::Protocol),
    ("ErrorInvalidRequest", Class::Protocol),
    ("ErrorInvalidId", Class::Protocol),
    ("ErrorInvalidIdMalformed", Class::Protocol),
    ("ErrorInvalidSyncStateData", Class::Renumbered),
];

pub(super) fn class_of(code: &str) -> Class {
    CODES.iter().find(|(name, _)| *name == code).map_or(Class::Protocol, |(_, class)| *class)
}

/// Whether a server that answers so may nevertheless have done what it was asked: the store's own answer did not come in time.
pub(super) fn is_doubtful(code: &str) -> bool {
    matches!(
        code,
        "ErrorTimeoutExpired"
            | "ErrorInternalServerError"
            | "ErrorInternalServerTransientError"
            | "ErrorConnectionFailed"
    )
}

/// A response message that is no success. `None` for a success and for a warning that does not stop.
pub(super) fn refusal(message: &Node) -> Option<(String, Fault)> {
    let class = message.attribute("ResponseClass")?;
    let code = message.value("ResponseCode").unwrap_or("an error without code");
    if class == "Success" || (class == "Warning" && code != "ErrorBatchProcessingStopped") {
        return None;
    }
    let words = message.value("MessageText").unwrap_or_default();
    Some((code.to_owned(), fault(code, words, message)))
}

/// `told` holds MessageXml, where patience is written.
pub(super) fn fault(code: &str, words: &str, told: &Node) -> Fault {
    let fault = Fault::new(class_of(code), format!("ews: {}: {}{}", shown(code), shown(words), hint(code)));
    match patience(told) {
        Some(wait) => fault.after(wait),
        None => fault,
    }
}

fn patience(told: &Node) -> Option<Duration> {
    let xml = told.find("MessageXml")?;
    let value = xml.children.iter().find(|c| c.attribute("Name") == Some("BackOffMilliseconds"))?;
    let wait: u64 = value.text.trim().parse().ok()?;
    Some(Duration::from_millis(wait.min(PATIENCE)))
}

/// What to do, where the class alone does not say it.
fn hint(code: &str) -> &'static str {
    match code {
        "ErrorImpersonateUserDenied" | "ErrorImpersonationDenied" => {
            "; give the account the management role ApplicationImpersonation (2007: the right ms-Exch-EPI-May-Impersonate), or full access to the mailbox \
             and leave `authzid` out"
        }
        "ErrorNonExistentMailbox" | "ErrorMissingEmailAddress" => {
            "; Exchange knows no mailbox with this primary SMTP address"
        }
        "ErrorMessageSizeExceeded" => {
            "; raise maxRequestLength of the EWS web.config and the organisation's MaxReceiveSize"
        }
        "ErrorInvalidServerVersion" => "; write profile = \"exchange-2007\" for Exchange 2007",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(class: &str, code: &str, more: Vec<Node>) -> Node {
        let text = |name: &str, text: &str| Node { name: name.into(), text: text.into(), ..Node::default() };
        let mut children = vec![text("MessageText", "words"), text("ResponseCode", code)];
        children.extend(more);
        Node { name: "X".into(), attributes: vec![("ResponseClass".into(), class.into())], children, ..Node::default() }
    }

    #[test]
    fn each_code_has_one_class() {
        let mut names: Vec<_> = CODES.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CODES.len());
        for (code, class) in [
            ("ErrorServerBusy", Class::Busy),
            ("ErrorQuotaExceeded", Class::Quota),
            ("ErrorMessageSizeExceeded", Class::TooLarge),
            ("ErrorMimeContentInvalid", Class::Malformed),
            ("ErrorItemNotFound", Class::Vanished),
            ("ErrorImpersonateUserDenied", Class::Permission),
            ("ErrorNonExistentMailbox", Class::Login),
            ("ErrorSchemaValidation", Class::Protocol),
            ("ErrorOfTheFuture", Class::Protocol),
        ] {
            let (told, fault) = refusal(&message("Error", code, vec![])).expect("refused");
            assert_eq!((told.as_str(), fault.class), (code, class), "{fault}");
        }
        assert_eq!(refusal(&message("Success", "NoError", vec![])), None);
    }

    /// A server that is busy says nothing about a message, and its patience is honoured.
    #[test]
    fn failure_11_29_a_busy_server_refuses_no_message_and_says_how_long() {
        let value = Node {
            name: "Value".into(),
            attributes: vec![("Name".into(), "BackOffMilliseconds".into())],
            text: "299961".into(),
            ..Node::default()
        };
        let xml = Node { name: "MessageXml".into(), children: vec![value], ..Node::default() };
        let (_, fault) = refusal(&message("Error", "ErrorServerBusy", vec![xml])).expect("refused");
        assert_eq!(fault.after, Some(Duration::from_millis(299_961)));
        assert!(fault.class.passes() && !fault.class.of_message());
    }
}
