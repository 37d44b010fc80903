//! Every code of reading what others wrote: what it means, what to do.

use crate::model::code::Example::Elsewhere;
use crate::model::code::{Chapter, Code, code};

pub const CHAPTERS: &[Chapter] = &[Chapter { title: "Importing what others wrote", codes: CODES }];

const CODES: &[Code] = &[
    code(
        "E1301",
        "A file to import cannot be read",
        "It is not there, not readable, too large or not UTF-8, or has more mistakes than are shown.",
        "Name a file that is there; save it as UTF-8; mend the mistakes that are shown and import again.",
        Elsewhere("cutover import zone FILE, where the file is not UTF-8"),
    ),
    code(
        "E1302",
        "An Ansible inventory has a mistake",
        "What Ansible itself would refuse, or what has no meaning without running it.",
        "Mend the line that is shown; `ansible-inventory --list` says what Ansible reads.",
        Elsewhere("cutover import ansible, on a range that counts down"),
    ),
    code(
        "E1303",
        "A table has a mistake",
        "A CSV file has a header line, and as many fields in each line as the header has.",
        "Mend the line that is shown, or say with an option which column is which.",
        Elsewhere("cutover import servers, on a CSV without a column of names"),
    ),
    code(
        "E1304",
        "A zone file has a mistake",
        "The records do not follow RFC 1035, section 5, or lie outside the zone.",
        "Mend the line that is shown; named-checkzone says what BIND makes of it.",
        Elsewhere("cutover import zone, on a record without data"),
    ),
    code(
        "E1305",
        "A list of users has a mistake",
        "An entry has no address, one that is none, or one that another entry has; or an LDIF file holds changes.",
        "Mend the entry that is shown; export entries, not changes.",
        Elsewhere("cutover import users, on an LDIF with changetype"),
    ),
];
