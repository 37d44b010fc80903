//! Codes of nodes and their fields.

use crate::model::code::Example::Text;
use crate::model::code::{Code, code};

pub(super) const CODES: &[Code] = &[
    code(
        "E0101",
        "There is no such kind",
        "Each line starts with the kind of a node, and kinds are fixed by the language. Unknown words are mistakes at every depth.",
        "Mend the word, or look the kinds up in the reference.",
        Text("sites dublin\n"),
    ),
    code(
        "E0102",
        "The kind has no such field",
        "A field that nobody reads would be silently without effect.",
        "Mend the word; the message names the nearest field, or all.",
        Text("site dublin town=Dublin\n"),
    ),
    code(
        "E0103",
        "A value too many",
        "A kind takes one name; everything else is a field.",
        "Write field=value, or `field value` on a line of its own inside { }.",
        Text("site dublin ireland\n"),
    ),
    code(
        "E0104",
        "A field is set twice",
        "Only one of the two could hold, and which would depend on their order.",
        "Keep one. A list stands on one line with all its values.",
        Text("site dublin location=Dublin location=Cork\n"),
    ),
    code(
        "E0105",
        "A list swallowed the next field",
        "Without a `;` or a line break the name of the next field is read as one more value.",
        "End the list with `;` or a line break.",
        Text(
            "platform ex exchange=\"2010\"\nsite dublin\nserver mbx platform=ex site=dublin { roles mailbox memory \"8GiB\"; }\n",
        ),
    ),
    code(
        "E0106",
        "A name or a value is missing",
        "The kind needs a name, or a line names a field and gives it nothing.",
        "Write the name behind the kind, the value behind the field.",
        Text("site\n"),
    ),
    code(
        "E0107",
        "A required field is missing",
        "The node makes no sense without it, and no default would be right for all.",
        "Write the field; the message says what it takes.",
        Text("platform ex exchange=\"2010\"\nsite dublin\nserver mbx site=dublin { roles mailbox; }\n"),
    ),
    code(
        "E0108",
        "A node stands where it cannot",
        "Kinds stand at top level or inside certain other kinds. Often a `}` before it stands too early, or is missing.",
        "Move it to the place that the message names.",
        Text("disk data size=\"100GiB\"\n"),
    ),
    code(
        "E0109",
        "A field takes one value",
        "Further values would have no meaning.",
        "Put a text with spaces in quotes.",
        Text("site dublin { location Dublin Ireland; }\n"),
    ),
    code(
        "E0110",
        "A field takes values only",
        "Properties and children belong to nodes, not to the fields of a node.",
        "Write `field value`, and what follows on a line of its own.",
        Text("site dublin { location city=Dublin; }\n"),
    ),
    code(
        "E0111",
        "An annotation stands where it has no meaning",
        "In brackets before a value stands (secret), or a unit before a number; before a node of an overlay its verb.",
        "Take it out, or move it to where it belongs.",
        Text("site dublin location=(secret)\"env:CITY\"\n"),
    ),
];
