//! Codes of overlays, modules and variables, and of what the language holds of the whole.

use crate::model::code::Example::{Elsewhere, Text};
use crate::model::code::{Code, code};

pub(super) const OVERLAYS: &[Code] = &[
    code(
        "E0401",
        "A node of an overlay has no verb",
        "Nothing is merged silently: an overlay says whether it adds, changes or takes away.",
        "Write (patch), (add), (remove), (replace) or (take) before the kind.",
        Text("site dublin\nenvironment lab purpose=lab {\n    site dublin location=Lab\n}\n"),
    ),
    code(
        "E0402",
        "A verb that cannot stand here",
        "The verb is unknown, stands outside an overlay, or before something that it does not work on.",
        "Verbs stand in `environment` and `use`; before a field only (add) and (remove), and only where it is a list.",
        Text("(patch)site dublin location=Lab\n"),
    ),
    code(
        "E0403",
        "The target of an overlay does not exist",
        "(patch), (remove), (replace) and (take) work on what the layers below have.",
        "Mend the name. To create a node only here, write (add).",
        Text("site dublin\nenvironment lab purpose=lab {\n    (patch)site berlin location=Lab\n}\n"),
    ),
    code(
        "E0404",
        "(add) of what exists already",
        "(add) makes a node that the layers below do not have.",
        "Change it with (patch), or write it anew with (replace).",
        Text("site dublin\nenvironment lab purpose=lab {\n    (add)site dublin\n}\n"),
    ),
    code(
        "E0405",
        "Two verbs of one layer touch the same",
        "The outcome would hang on their order, and order has no meaning.",
        "Say it with one verb.",
        Text(
            "site dublin\nenvironment lab purpose=lab {\n    (patch)site dublin location=Lab\n    (patch)site dublin location=Cellar\n}\n",
        ),
    ),
    code(
        "E0406",
        "An overlay on a final node",
        "(final) in the base closes a node to overlays: formal service levels, separation of duties, gates.",
        "Change the base, with the consent of who closed it.",
        Text(
            "(final)separation four-eyes { of author approver; }\nenvironment lab purpose=lab {\n    (remove)separation four-eyes\n}\n",
        ),
    ),
    code(
        "E0407",
        "There is no such environment",
        "--env names an environment that the topology does not declare. Where `extends` names one, it is E0301.",
        "Mend the name; the message lists what there is.",
        Elsewhere("cutover check --env lba, where the environment is called `lab`"),
    ),
    code(
        "E0408",
        "Environments extend each other",
        "None of them could be read first.",
        "Let one environment of the circle extend none of the others.",
        Text("environment a purpose=lab extends=b\nenvironment b purpose=lab extends=a\n"),
    ),
    code(
        "E0409",
        "(take) is written wrongly",
        "(take) keeps the first of a range: it needs the range and how many, and cannot keep more than there are.",
        "Write (take)server \"cas-[01:12]\" 2.",
        Text("site \"s-[1:3]\"\nenvironment lab purpose=lab {\n    (take)site \"s-[1:3]\" 7\n}\n"),
    ),
    code(
        "E0411",
        "A network does not fit into the one it is mapped to",
        "address-map moves every address by one and the same distance; the second network must be of the same family and hold them all.",
        "Name a network that is at least as large.",
        Text("environment lab purpose=lab {\n    address-map \"10.0.0.0/8\" to=\"192.168.0.0/16\"\n}\n"),
    ),
    code(
        "E0412",
        "Two nodes would get one name",
        "Two domains are mapped to one, and both hold a name that would then be the same.",
        "Map each domain to one of its own, or (remove) one of the two nodes in this environment.",
        Text(
            "accepted-domain acme.example\naccepted-domain umbrella.example\nenvironment lab purpose=lab {\n    domain-map acme.example to=lab.test\n    domain-map umbrella.example to=lab.test\n}\n",
        ),
    ),
    code(
        "E0413",
        "A stand-in cannot be what `map` says",
        "`map` names a word of the replaced platform and what it becomes; both must exist, and what is left must be possible.",
        "Write as in map role:mailbox imap, kind:dag pair, service:owa imap; `none` leaves it out.",
        Text(
            "platform ex exchange=\"2010\"\nplatform open dovecot=\"2.3\"\nenvironment lab purpose=lab {\n    stand-in ex with=open { map mailbox imap; }\n}\n",
        ),
    ),
    code(
        "E0415",
        "A rename that cannot be read",
        "`moved` names both sides as KIND:NAME, of one kind, and their ranges are zipped.",
        "Write moved from=\"server:box-[1:3]\" to=\"server:mail-[1:3]\".",
        Text("moved from=box to=mail\n"),
    ),
    code(
        "E0416",
        "Moved away, and still there",
        "A node that was renamed cannot also have its former name: a plan could not tell the two apart.",
        "Rename the node, or take the `moved` away.",
        Text("site dublin\nsite cork\nmoved from=\"site:dublin\" to=\"site:cork\"\n"),
    ),
    code(
        "E0417",
        "Renames that contradict one another",
        "One node has one past: a name moves once, to one other, and no chain leads back to itself.",
        "Keep one of the two, or chain them: a to b, b to c.",
        Text("site cork\nmoved from=\"site:dublin\" to=\"site:cork\"\nmoved from=\"site:ennis\" to=\"site:cork\"\n"),
    ),
    code(
        "E0418",
        "A patch of a `use` reaches outside its instance",
        "The overlays in a `use` belong to what it makes; another instance or the rest of the topology is not theirs to change.",
        "Change the node where it is written, or in an `environment`.",
        Text(
            "module place {\n    site $self\n}\nsite cork\nuse place dublin {\n    (patch)site cork location=\"far\"\n}\n",
        ),
    ),
];

pub(super) const MODULES: &[Code] = &[
    code(
        "E0501",
        "There is no such module",
        "`use` names a module that is neither written inline nor stands in modules/NAME/module.kdl or at from=.",
        "Mend the name, or write the module.",
        Text("use mailbox-site red\n"),
    ),
    code(
        "E0502",
        "The module has no such parameter",
        "`use` gives a parameter that the module does not declare.",
        "Mend the name; the message lists what there is.",
        Text(
            "module m { param city type=string; site \"$self\" location=\"$city\"; }\nuse m red city=Cork town=Cork\n",
        ),
    ),
    code(
        "E0503",
        "A parameter is not given",
        "A parameter without a default must be given by each `use`.",
        "Give it, or declare a default.",
        Text("module m { param city type=string; site \"$self\" location=\"$city\"; }\nuse m red\n"),
    ),
    code(
        "E0504",
        "Modules use each other",
        "A module that contains itself would never end.",
        "Take one `use` out of the circle.",
        Text("module m { use m \"$self-2\"; }\nuse m red\n"),
    ),
    code(
        "E0505",
        "Modules use modules too deep",
        "Eight levels are more than anybody reads.",
        "Flatten some of them.",
        Text(
            "module a { use b x; }\nmodule b { use c x; }\nmodule c { use d x; }\nmodule d { use e x; }\nmodule e { use f x; }\nmodule f { use g x; }\nmodule g { use h x; }\nmodule h { use i x; }\nmodule i { site \"$self\"; }\nuse a x\n",
        ),
    ),
    code(
        "E0506",
        "The module has another version",
        "`use` asks for a version, so that a module is not changed under those who use it.",
        "Take that version of the module, or read what changed and write the new number.",
        Text("module m { version \"1.2.0\"; site \"$self\"; }\nuse m red version=\"1.0.0\"\n"),
    ),
    code(
        "E0511",
        "Nothing is called `$name` here",
        "A text uses a variable, a let or a parameter that is not known there, or the text of a bracket that the name does not have. A module sees its parameters and $self, not the variables of the root.",
        "Declare it, or pass it as a parameter. `$$` writes a `$`; a raw text #\"..\"# is never touched.",
        Text("site dublin location=\"$city\"\n"),
    ),
    code(
        "E0512",
        "A variable has no value",
        "It is declared without a default, and neither the environment nor --set gives one.",
        "Give --set NAME=VALUE, `set NAME VALUE` in the environment, or a default. `cutover check` asks for none.",
        Text("variable city type=string\nsite dublin location=\"$city\"\n"),
    ),
    code(
        "E0513",
        "There is no such variable",
        "--set names a variable that the topology does not declare.",
        "Mend the name; the message lists what there is.",
        Elsewhere("cutover check --set sise=2GiB, where the variable is called `size`"),
    ),
    code(
        "E0514",
        "Lets need each other",
        "None of them could be read first.",
        "Write one of the circle out.",
        Text("let a \"$b\"\nlet b \"$a\"\n"),
    ),
];

pub(super) const POLICY: &[Code] = &[
    code(
        "E0601",
        "Not available in this version of the product",
        "The kind, field or value exists from or to a version, and a server concerned runs another.",
        "Name servers of another platform, use what that version has, or correct the version.",
        Text(
            "platform ex exchange=\"2007\"\nsite dublin\nserver \"mbx-[1:2]\" platform=ex site=dublin { roles mailbox; }\ndag emea { members \"mbx-[1:2]\"; }\n",
        ),
    ),
    code(
        "E0701",
        "A secret is written out",
        "A topology goes to git, and git forgets nothing. Secrets are references, read when they are used.",
        "Write (secret)\"env:NAME\", \"file:..\", \"age:..\", \"vault:..\" or \"cmd:..\". Then remove the literal from the history of git, and rotate it: who could read the repository has it.",
        Text("connection c password=\"hunter2\"\n"),
    ),
    code(
        "E0801",
        "One person or team cannot hold both duties",
        "Who wrote or tested a change does not approve it; `separation` forbids further pairs.",
        "Name another person or team, or keep one team with count=2 so that a second person signs.",
        Text(
            "platform open postfix=\"3.7\"\nsite dublin\nserver hub platform=open site=dublin { roles relay; }\nteam ops\nrunbook \"[out,back]\"\nchange c severity=minor author=ops rollout=out rollback=back { affects hub; approval ops; }\n",
        ),
    ),
    code(
        "E0901",
        "A phase needs what a later phase deploys",
        "Phases come one after the other; what a phase deploys or migrates needs nodes that only a later one brings.",
        "Deploy them in this phase or an earlier one.",
        Text(
            "platform open postfix=\"3.7\" dovecot=\"2.3\"\nsite dublin\nserver \"[a,b]\" platform=open site=dublin { roles imap; }\npair p { members \"[a,b]\"; }\nenvironment production purpose=production\nphase one step=build environment=production { deploys p; }\nphase two step=pilot environment=production { after one; deploys a; }\n",
        ),
    ),
];
