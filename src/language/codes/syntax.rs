//! Codes of files and of syntax.

use crate::model::code::Example::{Files, Made, Text};
use crate::model::code::{Code, code};

pub(super) const CODES: &[Code] = &[
    code(
        "E0001",
        "A word that starts with a digit needs quotes",
        "KDL reads a bare word that starts with a digit as a number, and this one is none.",
        "Put the value in quotes: \"90s\", \"8GiB\", \"10.1.0.11\", \"2027-01-31\".",
        Text("sla delivery type=delivery within=90s\n"),
    ),
    code(
        "E0002",
        "A text cannot be read",
        "A quote is never closed, an escape is unknown, or the lines of a text of several lines do not start alike.",
        "Close the text on its line. Write `\\\\` for a backslash, or a raw text #\"..\"# that knows no escapes. A text of several lines stands between \"\"\" on lines of their own, and all its lines start with the blanks of the last one.",
        Text("site dublin location=\"Dublin\nsite tehran\n"),
    ),
    code(
        "E0003",
        "A bare `${..}` needs quotes",
        "A bare `{` starts children, so `${name}` outside quotes breaks the node in two.",
        "Write \"${name}\", or $name where nothing follows that could belong to the name.",
        Text("let city Dublin\nsite dublin location=${city}-2\n"),
    ),
    code(
        "E0004",
        "A word with such a sign needs quotes",
        "Brackets, slashes, backslashes and `#` have a meaning of their own in KDL.",
        "Put the value in quotes: ranges \"mbx-[01:12]\", paths, URLs.",
        Text("site dublin-[1:2]\n"),
    ),
    code(
        "E0005",
        "A keyword of KDL is written with `#`",
        "Bare true, false and null are reserved, so that a forgotten `#` cannot pass as a text.",
        "Write #true, #false or #null; as a text, \"true\".",
        Text("site dublin datacenter=true\n"),
    ),
    code(
        "E0006",
        "The structure cannot be read",
        "A brace, a space or a value is missing, or there is one too many.",
        "Nodes stand on lines of their own or behind `;`. Values and properties come before the `{`, and the `{` on the line of its node. Between two values stands a space.",
        Text("site dublin {\n    location Ireland\n"),
    ),
    code(
        "E0007",
        "A file is not UTF-8",
        "Texts in other encodings would be read wrongly without a sign of it.",
        "Save the file as UTF-8.",
        Made("a file with `Köln` in ISO 8859-1", || b"site K\xf6ln\n".to_vec()),
    ),
    code(
        "E0008",
        "A file is too large",
        "Files are read whole; 8 MiB hold some fifty thousand servers written out one by one.",
        "Write repeated nodes as a range, or split the file with `include`.",
        Made("a file of 9 MiB", || vec![b'\n'; 9 << 20]),
    ),
    code(
        "E0009",
        "Nodes are nested too deep",
        "A topology needs five levels; more than 32 come from a `}` that is missing.",
        "Look for the missing `}` above the place shown.",
        Made("forty nodes, each inside the one before", || b"a {\n".repeat(40)),
    ),
    code(
        "E0010",
        "More mistakes than can be of use",
        "After 1,000 messages no further ones are collected.",
        "Mend the first ones: the others may be gone with them.",
        Made("1,100 nodes of an unknown kind", || {
            (0..1100).flat_map(|n| format!("kind{n} a\n").into_bytes()).collect()
        }),
    ),
    code(
        "E0011",
        "Files include each other",
        "A file that includes itself, by way of others too, would never end.",
        "Take one of the includes out. All files of a root see each other, whatever their order.",
        Text("include topology.kdl\n"),
    ),
    code(
        "E0012",
        "A file is included twice",
        "Its nodes would be defined twice.",
        "Keep one include: all files of a root see each other.",
        Files(&[("topology.kdl", "include sites.kdl\ninclude sites.kdl\n"), ("sites.kdl", "site dublin\n")]),
    ),
    code(
        "E0013",
        "A file cannot be read",
        "It does not exist, is a folder, or may not be read.",
        "Paths are relative to the folder of the root file. A file that need not exist is included with optional=#true.",
        Text("include servers.kdl\n"),
    ),
    code(
        "E0014",
        "An edition of the language that is not known",
        "`language` names the edition that the root is written in; this program reads another.",
        "Use a cutover that reads it, or write the edition that this one reads.",
        Text("language 2\nsite dublin\n"),
    ),
    code(
        "E0015",
        "A character that is not seen",
        "Controls, direction marks and characters without a picture let a line say another thing to a person than to a program (CVE-2021-42574). Direction marks are refused in comments too. The joiners of Persian and Indic scripts are taken where they change what is drawn (RFC 5892, appendix A).",
        "Remove it. Letters of Persian, Arabic and Hebrew carry their direction and need no mark. To keep a mark in a text, write it as an escape: \\u{200f}.",
        Made("a comment with U+202E in it", || "// \u{202e}neppo\nsite dublin\n".as_bytes().to_vec()),
    ),
];
