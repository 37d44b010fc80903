#!/usr/bin/python3
"""A SIMULATION of an organisation of Exchange servers, for tests: `powershell.exe` on a host that has none.

It is no PowerShell. It knows the two constant scripts of `src/exchange/ps` by their digests and does what each would: lists objects, makes
calls. Objects stand in a file. What a cmdlet takes in the simulated release it is told (`world.json`, made from the dialect and, where it is
at hand, Microsoft's contract); anything else is refused as the shell refuses it. Nothing that it answers is evidence of a real server, and
every answer says so.

Beside it, or in the folder of EXCHANGE_SIMULATION:
    world.json    the release, the kinds, the cmdlets with their parameters, digests of the scripts, the loader
    shape         live, deserialized, signed or empty: how values are returned
    objects.json  what is there
    faults.json   [{"cmdlet": "Set-X", "do": "error|die-before|die-after|torn|slow", ...}], each used once
    calls.log     every call that was made, as lines of JSON, without secrets
"""
import base64, fcntl, hashlib, json, os, re, sys, time, uuid

DIR = os.environ.get("EXCHANGE_SIMULATION") or os.path.dirname(os.path.realpath(__file__))
BEGIN, END = "-----BEGIN CUTOVER ANSWER-----", "-----END CUTOVER ANSWER-----"
GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.I)


def path(name):
    return os.path.join(DIR, name)


def load(name, default):
    try:
        with open(path(name), encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return default


def save(name, what):
    with open(path(name + ".new"), "w", encoding="utf-8") as f:
        json.dump(what, f, indent=1, sort_keys=True)
        f.flush()
        os.fsync(f.fileno())
    os.replace(path(name + ".new"), path(name))


class Refused(Exception):
    def __init__(self, reason, text):
        super().__init__(text)
        self.reason, self.text = reason, text

    def told(self):
        absent = self.reason == "ManagementObjectNotFoundException"
        return {"id": "[Server=SIM]," + self.reason, "reason": self.reason, "text": self.text, "absent": absent}


def last(text):
    """The name in a distinguished name or a path."""
    if re.match(r"(?i)cn=", text):
        return re.split(r"(?<!\\),", text)[0][3:].replace("\\", "")
    if "/" in text and "." in text.split("/")[0]:
        return text.split("/")[-1]
    return text


def host(text):
    return last(str(text)).split(".")[0].lower()


class World:
    def __init__(self):
        self.world = load("world.json", None)
        if self.world is None:
            sys.exit("SIMULATION: no world.json in " + DIR)
        self.kinds = self.world["kinds"]
        self.objects = load("objects.json", [])
        self.faults = load("faults.json", [])
        try:
            with open(path("shape")) as f:
                self.shape = f.read().strip()
        except FileNotFoundError:
            self.shape = "live"
        self.standing()

    # What is always there: one of a kind without a key, and one for each server of a kind that nobody makes.
    def standing(self):
        servers = [o["key"][0] for o in self.objects if o["kind"] == "server"]
        for name, kind in self.kinds.items():
            if kind["new"] or kind["each"]:
                continue
            if not kind["key"]:
                keys = [[]]
            elif len(kind["key"]) == 1 and kind["key"][0] in kind["hosts"] and name != "server":
                keys = [[s] for s in servers]
            else:
                continue
            for key in keys:
                if self.find(name, key) is None:
                    self.add(name, key, {})

    def save(self):
        save("objects.json", self.objects)

    def add(self, kind, key, values):
        name = key[-1] if key else kind
        made = {"kind": kind, "key": key, "values": values, "guid": str(uuid.uuid4()),
                "dn": "CN=%s,CN=%s,DC=acme,DC=example" % (name.replace(",", "\\,"), kind)}
        self.objects.append(made)
        return made

    def of(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def same(self, kind, word, a, b):
        k = self.kinds[kind]
        if word in k["hosts"]:
            return host(a) == host(b)
        if word in k["references"]:
            return str(a).lower() == str(b).lower() or last(str(a)).lower() == last(str(b)).lower()
        return str(a).lower() == str(b).lower()

    def find(self, kind, key):
        words = self.kinds[kind]["key"]
        for o in self.of(kind):
            if len(o["key"]) == len(key) and all(self.same(kind, w, a, b) for w, a, b in zip(words, o["key"], key)):
                return o
        return None

    def fault(self, cmdlet, when):
        for f in self.faults:
            if f["cmdlet"] == cmdlet and f["do"] in when:
                if not f.get("always"):
                    self.faults.remove(f)
                    save("faults.json", self.faults)
                return f
        return None

    def takes(self, cmdlet, parameters):
        known = self.world["cmdlets"].get(cmdlet)
        if known is None:
            raise Refused("CommandNotFoundException", "The term '%s' is not recognized as the name of a cmdlet." % cmdlet)
        for name in parameters:
            if name not in known:
                raise Refused("ParameterBindingException", "A parameter cannot be found that matches parameter name '%s'." % name)

    # ---- Get-

    def get(self, ask):
        cmdlet, parameters = ask["cmdlet"], ask["parameters"]
        warnings, objects, errors = [], [], []
        try:
            self.takes(cmdlet, parameters)
            slow = self.fault(cmdlet, ["slow"])
            if slow:
                time.sleep(slow["seconds"])
            bad = self.fault(cmdlet, ["error"])
            if self.fault(cmdlet, ["warn"]):
                warnings.append("The object is corrupt and in an inconsistent state.")
            kinds = [(n, k) for n, k in self.kinds.items() if k["get"] == cmdlet and not k["each"]]
            for name, kind in kinds:
                for o in self.listed(name, kind, parameters):
                    objects.append(self.shown(name, kind, o, ask["properties"]))
                    if bad:
                        break
            if bad:
                raise Refused(bad.get("reason", "ADTransientException"), bad.get("text", "The directory does not answer."))
        except Refused as e:
            errors.append(e.told())
        return {"kind": ask["kind"], "objects": objects, "warnings": warnings, "errors": errors}

    def listed(self, name, kind, parameters):
        if not kind["ask"]:
            return self.of(name)
        word, of = kind["ask"]
        asked = parameters[word]
        if of == "server":
            there = any(host(o["key"][0]) == host(asked) for o in self.of("server"))
        else:
            there = self.named(of, asked) is not None
        if not there:
            raise Refused("ManagementObjectNotFoundException", "The operation couldn't be performed because object '%s' couldn't be found." % asked)
        at = kind["key"].index(word)
        return [o for o in self.of(name) if self.same(name, word, o["key"][at], asked)]

    def shown(self, name, kind, o, properties):
        all_ = {}
        live = self.shape == "live"
        words = kind["key"]
        own = o["key"][words.index("Name")] if "Name" in words else (o["key"][-1] if words else name)
        all_["Name"] = own
        all_["Guid"] = o["guid"]
        all_["DistinguishedName"] = o["dn"]
        all_["Identity"] = "\\".join(o["key"]) or name
        for word, text in zip(words, o["key"]):
            if word in kind["hosts"] or word in kind["references"]:
                all_[kind["key_read"].get(word, word)] = self.reference(text)
            else:
                all_[kind["key_read"].get(word, word)] = text
        for pname, p in kind["properties"].items():
            if not p["unread"] and not p["pair"]:
                all_[p["read"]] = self.value(p, o["values"].get(pname))
        for ename, e in self.kinds.items():
            if not e["each"] or e["get"] != kind["get"]:
                continue
            members = [m for m in self.of(ename) if self.same(ename, e["key"][0], m["key"][0], own)]
            paired = [p for p in e["properties"].values() if p["read"] == e["each"]]
            if not paired:
                all_[e["each"]] = self.container([self.reference(m["key"][1]) for m in members])
            for pname, p in e["properties"].items():
                if p["pair"]:
                    pairs = [self.pair(m["key"][1], p, m["values"].get(pname)) for m in members]
                    all_[p["read"]] = self.container([x for x in pairs if x is not None])
                elif not p["unread"]:
                    for m in members:
                        all_.setdefault(p["read"], self.value(p, m["values"].get(pname)))
        folded = {k.lower(): v for k, v in all_.items()}
        return {p: folded[p.lower()] for p in properties if p.lower() in folded}

    # ---- values as sessions return them

    def wrapped(self, text, kind, **more):
        if self.shape == "live":
            return dict({"$type": "Microsoft.Exchange.Data." + kind, "$text": text}, **more)
        if self.shape == "signed":
            return {"$type": "Deserialized.Microsoft.Exchange.Data." + kind, "$text": text, "SerializationData": [0, 1, 0]}
        return text

    def reference(self, text):
        if self.shape == "live" and not GUID.match(text):
            return {"$type": "Microsoft.Exchange.Data.Directory.ADObjectId", "$text": text, "Name": last(text)}
        return self.wrapped(text, "Directory.ADObjectId")

    def nothing(self):
        return {"live": None, "deserialized": "", "signed": {}, "empty": []}[self.shape]

    def container(self, values):
        if not values:
            return {"live": [], "deserialized": None, "signed": [], "empty": ""}[self.shape]
        if self.shape in ("deserialized", "empty") and len(values) == 1:
            return values[0]
        return {"value": values, "Count": len(values)} if self.shape == "signed" else values

    def pair(self, server, p, value):
        if value is None:
            value = {"int": 1, "timespan": "00:00:00"}.get(p["shape"])
        if self.shape == "live":
            return {"$type": "KeyValuePair", "$text": "[%s, %s]" % (server, value), "Key": self.reference(server), "Value": self.one(p, value)}
        text = "[%s, %s]" % (server, value)
        return {"$text": text} if self.shape == "signed" else text

    def value(self, p, value):
        if value is None or value == "" or value == []:
            return self.container([]) if p["list"] else self.nothing()
        if p["blind"] and self.shape in ("signed", "empty"):
            return None
        if p["shape"] == "flags":
            text = ", ".join(value) if isinstance(value, list) else value
            text = ", ".join([text] + p["ignore"])
            if self.shape == "deserialized":
                return [w.strip() for w in text.split(",")]
            return text if self.shape == "live" else self.wrapped(text, "Flags")
        if p["list"]:
            return self.container([self.one(p, v) for v in (value if isinstance(value, list) else [value])])
        return self.one(p, value[0] if isinstance(value, list) else value)

    def one(self, p, v):
        shape, now = p["shape"], self.shape
        if shape.endswith("-or-unlimited"):
            base = dict(p, shape=shape[:-len("-or-unlimited")])
            if str(v).lower() == "unlimited":
                return {"$type": "Unlimited", "$text": "Unlimited", "IsUnlimited": True} if now in ("live", "signed") else "Unlimited"
            if now == "live":
                inner = self.one(base, v)
                text = inner["$text"] if isinstance(inner, dict) else str(inner)
                return {"$type": "Unlimited", "$text": text, "IsUnlimited": False, "Value": inner}
            return self.one(base, v)
        if shape == "bool":
            v = v if isinstance(v, bool) else str(v).lower() == "true"
            if now == "signed":
                return {"$type": "System.Management.Automation.SwitchParameter", "$text": str(v)}
            return v if now != "empty" else str(v)
        if shape == "int":
            return int(v) if now != "signed" else str(v)
        if shape == "bytes":
            n = int(v)
            text = "%.4g MB (%s bytes)" % (n / 1048576, format(n, ","))
            return self.wrapped(text, "ByteQuantifiedSize")
        if shape == "timespan":
            return self.wrapped(str(v), "EnhancedTimeSpan")
        if shape == "url":
            return self.wrapped(str(v), "Uri", AbsoluteUri=str(v))
        if shape == "address":
            return self.wrapped(str(v), "IPAddress", IPAddressToString=str(v))
        if shape == "reference":
            return self.reference(str(v))
        if shape == "proxy-address":
            return self.wrapped(str(v), "ProxyAddress", ProxyAddressString=str(v))
        if shape == "address-space":
            text = str(v)
            text = text if ":" in text else "SMTP:" + text
            text = text if ";" in text else text + ";1"
            return self.wrapped(text, "AddressSpace")
        if shape == "enum":
            return str(v) if now != "signed" else self.wrapped(str(v), "Enum")
        if shape == "name":
            return self.wrapped(str(v), "SmtpDomain") if now == "signed" else str(v)
        return v

    # ---- New-, Set-, Remove-

    def call(self, call):
        cmdlet, parameters = call["cmdlet"], dict(call["parameters"])
        bad = self.fault(cmdlet, ["error"])
        if bad:
            raise Refused(bad.get("reason", "ADTransientException"), bad.get("text", "The directory does not answer."))
        self.takes(cmdlet, parameters)
        for verb, act in (("new", self.new), ("set", self.set), ("remove", self.remove)):
            kinds = [(n, k) for n, k in self.kinds.items() if k[verb] == cmdlet]
            if kinds:
                return act(*kinds[0], parameters)
        raise Refused("CommandNotFoundException", "nothing simulated knows " + cmdlet)

    def new(self, name, kind, parameters):
        key = []
        for word in kind["key"]:
            if word in kind["assigned"]:
                key.append(str(uuid.uuid4()).replace("-", ""))
            elif parameters.get(word) in (None, ""):
                raise Refused("ParameterBindingException", "Cannot process command because of a missing mandatory parameter: " + word)
            else:
                value = parameters.pop(word)
                key.append(", ".join(value) if isinstance(value, list) else str(value))
        if self.find(name, key) is not None:
            raise Refused("ADObjectAlreadyExistsException", "Active Directory operation failed. The object '%s' already exists." % "\\".join(key))
        if kind["each"]:
            of = [n for n, k in self.kinds.items() if k["get"] == kind["get"] and not k["each"]][0]
            whole = self.named(of, key[0])
            if whole is None:
                raise Refused("ManagementObjectNotFoundException", "The operation couldn't be performed because object '%s' couldn't be found." % key[0])
        made = self.add(name, key, parameters)
        # The product makes the first copy itself.
        if name == "mailbox-database" and parameters.get("Server"):
            self.add("mailbox-database-copy", [key[0], last(parameters["Server"])], {"ActivationPreference": 1})
        return made

    def named(self, name, text):
        for o in self.of(name):
            names = [o["guid"], o["dn"], "\\".join(o["key"]), o["key"][-1] if o["key"] else name]
            if str(text).lower() in [n.lower() for n in names] or last(str(text)).lower() == names[3].lower():
                return o
        return None

    def meant(self, name, kind, parameters):
        if not kind["key"]:
            return self.of(name)[0]
        if kind["by"] == ["Identity"]:
            o = self.named(name, parameters.pop("Identity"))
        else:
            o = self.find(name, [parameters.pop(w) for w in kind["key"]])
        if o is None:
            raise Refused("ManagementObjectNotFoundException", "The operation couldn't be performed because the object couldn't be found.")
        return o

    def set(self, name, kind, parameters):
        o = self.meant(name, kind, parameters)
        for pname, value in parameters.items():
            p = kind["properties"].get(pname)
            if p is None or not p["set"]:
                raise Refused("ParameterBindingException", "A parameter cannot be found that matches parameter name '%s'." % pname)
            o["values"][pname] = value
        if name == "accepted-domain" and parameters.get("MakeDefault") is True:
            for other in self.of(name):
                other["values"]["MakeDefault"] = other is o

    def remove(self, name, kind, parameters):
        o = self.meant(name, kind, parameters)
        for prop, value in kind["kept"]:
            has = o["values"].get(prop, o["key"][kind["key"].index(prop)] if prop in kind["key"] else None)
            if str(has).lower() == value.lower():
                raise Refused("InvalidOperationException", "This object can't be removed.")
        self.objects.remove(o)
        for n, k in self.kinds.items():
            if k["each"] and k["get"] == kind["get"] and not kind["each"]:
                self.objects = [m for m in self.objects if not (m["kind"] == n and self.same(n, k["key"][0], m["key"][0], o["key"][-1]))]


def hidden(json_):
    if isinstance(json_, dict):
        return {k: "(hidden)" if k in ("$secure", "$bytes") else hidden(v) for k, v in json_.items()}
    return json_


def write(answer, torn=False):
    answer["simulation"] = True
    text = "%s\r\n%s\r\n%s\r\n" % (BEGIN, json.dumps(answer, ensure_ascii=True), END)
    sys.stdout.write("SIMULATION of Exchange: no server of the product answers here\r\n")
    sys.stdout.write(text[: len(text) // 2] if torn else text)
    sys.stdout.flush()


def main():
    started = time.monotonic()
    lock = open(path("lock"), "w")
    world = load("world.json", {})
    if sys.argv[1:] != ["-NoProfile", "-NonInteractive", "-EncodedCommand", world.get("loader")]:
        sys.exit("SIMULATION: only the constant loader is known here")
    lines = sys.stdin.read().split("\n")
    script = world["scripts"].get(hashlib.sha256(base64.b64decode(lines[0].strip())).hexdigest())
    if script is None:
        sys.exit("SIMULATION: only the constant scripts are known here")
    told = json.loads(base64.b64decode(lines[1].strip()).decode("utf-8"))
    time.sleep(world.get("latency_ms", 0) / 1000)
    fcntl.flock(lock, fcntl.LOCK_EX)
    here = World()
    shell = here.fault("Connect-ExchangeServer", ["error"])
    if shell:
        e = Refused(shell.get("reason", "ADInvalidCredentialException"), shell.get("text", "The supplied credential is invalid."))
        return write({"failed": e.told()} if script == "observe" else {"results": [], "begun": 0, "failed": e.told()})
    if script == "observe":
        answers = [here.get(ask) for ask in told["asks"]]
        here.save()
        return write({"answers": answers}, here.fault("observe", ["torn"]) is not None)
    results = []
    for call in told["calls"]:
        cmdlet = call["cmdlet"]
        if here.fault(cmdlet, ["die-before"]):
            os._exit(137)
        error = None
        try:
            here.call(call)
            here.save()
        except Refused as e:
            error = e.told()
        with open(path("calls.log"), "a") as log:
            log.write(json.dumps({"cmdlet": cmdlet, "parameters": hidden(call["parameters"]), "error": error}) + "\n")
        if here.fault(cmdlet, ["die-after"]):
            os._exit(137)
        results.append({"cmdlet": cmdlet, "done": error is None, "warnings": [], "errors": [error] if error else []})
        if error:
            break
    write({"results": results}, here.fault("act", ["torn"]) is not None)


main()
