//! Codes of values, names, references and ranges.

use crate::model::code::Example::Text;
use crate::model::code::{Code, code};

pub(super) const VALUES: &[Code] = &[
    code(
        "E0201",
        "A value is not of its type",
        "Each field has a type: durations, sizes, rates and percents carry their unit, dates and addresses have one form. A unit is never guessed.",
        "Write the value in the form that the message shows.",
        Text("sla uptime type=availability target=99.9\n"),
    ),
    code(
        "E0202",
        "A word that the field does not know",
        "The field takes one of a few words.",
        "Take one of those that the message names.",
        Text("organization acme domain=acme.example mode=cloud\n"),
    ),
    code(
        "E0203",
        "A number is out of limits",
        "The protocol, the product or the language sets the limits.",
        "Take a number inside them.",
        Text("site dublin\nsubnet lan cidr=\"10.1.0.0/24\" site=dublin vlan=5000\n"),
    ),
    code(
        "E0204",
        "A list has too many or too few values",
        "A pair has two members, a link two ends.",
        "Name as many as the message says. In an overlay that takes nodes away, patch the list there too.",
        Text("site dublin\nlink l bandwidth=\"10Mbit/s\" { between dublin; }\n"),
    ),
];

pub(super) const NAMES: &[Code] = &[
    code(
        "E0301",
        "Nothing has this name",
        "A reference names a node that no file declares.",
        "Mend the name, or declare the node.",
        Text("platform ex exchange=\"2010\"\nsite dublin\nserver mbx platform=ex site=dubln { roles mailbox; }\n"),
    ),
    code(
        "E0302",
        "The name is of another kind of node",
        "A field wants a node of one kind, and the name belongs to one of another.",
        "Name a node of the right kind; where one is made of the other, the message shows how.",
        Text(
            "platform ex exchange=\"2010\"\nsite dublin\nserver hub platform=ex site=dublin { roles hub; }\nwitness w host=dublin\n",
        ),
    ),
    code(
        "E0303",
        "A range has another length than the names",
        "In a field that takes one value a range is zipped with the names of the node, one each.",
        "Give both the same length. For a whole list, write the field on a line of its own.",
        Text(
            "platform ex exchange=\"2010\"\nsite dublin\nserver \"mbx-[1:3]\" platform=ex site=dublin ip=\"10.1.0.[1:2]\" { roles mailbox; }\n",
        ),
    ),
    code(
        "E0304",
        "A name is defined twice",
        "One layer, one definition: which of two held would depend on the order of files.",
        "Change one name, or move the difference into an overlay of an `environment`.",
        Text("site dublin\nsite dublin\n"),
    ),
    code(
        "E0305",
        "A name could be two nodes",
        "Nodes of different kinds may share a name, and a zone has a view; here both fit.",
        "Name the kind too, as in server:hub, or the view, as in acme.example@public.",
        Text(
            "platform open postfix=\"3.7\" dovecot=\"2.3\"\nsite dublin\nserver \"[a,b]\" platform=open site=dublin { roles imap; }\npair a { members \"[a,b]\"; }\nnamespace mail.acme.example target=a { services imap; }\n",
        ),
    ),
    code(
        "E0306",
        "A range is written wrongly",
        "Ranges are [1:9], [01:62], [1:9:2], [a:f] and [red,dub], and mixes of these.",
        "Mend it. A raw text #\"..\"# keeps its brackets.",
        Text("site \"dublin-[3:1]\"\n"),
    ),
    code(
        "E0307",
        "Ranges make too many nodes or values",
        "Ranges multiply: brackets of one name, names and children, selectors over selectors. A topology has 200,000 nodes at most.",
        "Check the bounds, or split the range.",
        Text("site \"dublin-[1:1000]-[1:1000]\"\n"),
    ),
    code(
        "E0308",
        "A selector matches nothing",
        "A glob, role: or label: that names no node at all is a slip, not an empty list.",
        "Mend it, or take it out.",
        Text("probe p type=smtp { to \"edge-*\"; }\n"),
    ),
    code(
        "E0309",
        "A node that an overlay takes away is still named",
        "References by name do not shrink; ranges in lists, globs and roles do.",
        "Change the reference in the same overlay.",
        Text(
            "platform ex exchange=\"2010\"\nsite dublin\nserver hub platform=ex site=dublin { roles hub; }\nwitness w host=hub\nenvironment lab purpose=lab {\n    (remove)server hub\n}\n",
        ),
    ),
];
