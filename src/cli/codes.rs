//! The codes that only the program as a whole can give, and all codes together.

use crate::model::code::Example::Elsewhere;
use crate::model::code::{Chapter, Code, code};
use crate::{importing, language, lowering};

const FILES: &[Chapter] = &[Chapter {
    title: "Files beside the topology",
    codes: &[
        code(
            "E1021",
            "A pack or module cannot be read",
            "Packs and modules are folders of UTF-8 text in modules/.",
            "Mend the file or its permissions.",
            Elsewhere("a template in modules/own/templates/ that is not UTF-8"),
        ),
        code(
            "E1022",
            "A certificate or generated secret could not be made or read",
            "Certificates are issued by the organization's own authority, or imported from files.",
            "Mend what the message names: the file, its permissions, the state folder.",
            Elsewhere("cutover plan, where an imported certificate and its key do not belong together"),
        ),
        code(
            "E1023",
            "An imported certificate has ended",
            "Clients refuse it, so that nothing is put in place with it.",
            "Import a newer one; the next apply exchanges it.",
            Elsewhere("cutover plan, after the end of an imported certificate"),
        ),
        code(
            "E1042",
            "The people of a cohort cannot be told",
            "Who moves stands in lists beside the topology: a CSV with a header and a column `mail`, or an address a line.",
            "Mend the lines that are named.",
            Elsewhere("cutover cohort status, where users/pilot.csv is not there"),
        ),
        code(
            "E1043",
            "A list of accounts cannot be used",
            "Mailboxes, aliases and groups stand in lists beside the topology. An address stands for one thing only, whichever list names it.",
            "Mend the rows that are named; nothing is taken from a list of which one row is wrong.",
            Elsewhere("cutover plan, where two rows of users/staff.csv have one address"),
        ),
        code(
            "W1003",
            "An imported certificate ends soon",
            "It will not be renewed by cutover. On Exchange the warning begins 60 days before the end, as that of HealthChecker does.",
            "Import a newer one; the next apply exchanges it.",
            Elsewhere("cutover plan, some weeks before an imported certificate ends"),
        ),
        code(
            "W1006",
            "A DKIM key is to be changed",
            "It is older than `rotate` says, or its change has begun and the next step is due.",
            "Do what the message names; each step is one apply.",
            Elsewhere("cutover plan, where the file of a DKIM key is older than its `rotate`"),
        ),
    ],
}];

/// Every chapter, in the order of the page.
pub fn chapters() -> impl Iterator<Item = &'static Chapter> {
    language::CHAPTERS.iter().chain(lowering::CHAPTERS).chain(importing::CHAPTERS).chain(FILES)
}

/// One code, written `E0301` or `cutover::E0301`, in letters of any case.
pub fn find(word: &str) -> Option<&'static Code> {
    let word = word.trim_start_matches("cutover::").to_ascii_uppercase();
    chapters().flat_map(|c| c.codes).find(|c| c.code == word)
}
