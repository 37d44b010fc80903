"""Checks generated SPF policies with two programs that share nothing with cutover: pyspf says who may send, checkdmarc whether the
record is one and what it costs. Both get their DNS from the generated worlds. Usage: check.py FILE (see tests/soak/README.md)."""
import ipaddress
import json
import sys

import spf
from checkdmarc import spf as cd

world = {}


def lookup(name, kind, strict=True, timeout=None, lifetime=None):
    name = name.rstrip(".").lower()
    if kind in ("TXT", "SPF"):
        text = world["texts"].get(name)
        # Strings of 255 octets, as a server sends them.
        return [((name, kind), (text[i : i + 255].encode() for i in range(0, len(text), 255)))] if text and kind == "TXT" else []
    found = [ipaddress.ip_address(a) for a in world["hosts"].get(name, [])]
    version = {"A": 4, "AAAA": 6}.get(kind)
    return [((name, kind), str(a) if version == 4 else a.packed) for a in found if a.version == version]


def lookup_tuple(name, kind, *args, **kwargs):
    return [(k, tuple(v) if not isinstance(v, (str, bytes)) else v) for k, v in lookup(name, kind)]


spf.DNSLookup = lookup_tuple


def query_dns(name, kind, **kwargs):
    import dns.resolver

    name = name.rstrip(".").lower()
    if kind == "TXT":
        if name not in world["texts"]:
            raise dns.resolver.NXDOMAIN()
        return [world["texts"][name]]
    found = [a for a in world["hosts"].get(name, []) if (":" in a) == (kind == "AAAA")]
    if not found:
        raise dns.resolver.NoAnswer() if name in world["hosts"] else dns.resolver.NXDOMAIN()
    return found


cd.query_dns = query_dns
cd.get_txt_records = lambda name, **kw: query_dns(name, "TXT")
cd.query_spf_record = lambda name, **kw: {"record": query_dns(name, "TXT")[0], "warnings": []}
cd.get_a_records = lambda name, **kw: world["hosts"].get(name.rstrip(".").lower(), [])

policies = asked = wrong = costs = 0
for line in open(sys.argv[1]):
    world = json.loads(line)
    policies += 1
    for ip, wanted in world["verdicts"].items():
        said = spf.check2(i=ip, s="x@acme.example", h="acme.example")[0]
        asked += 1
        if said != wanted:
            wrong += 1
            print("pyspf:", said, "wanted:", wanted, ip, world["texts"])
    record = world["texts"]["acme.example"]
    try:
        parsed = cd.parse_spf_record(record, "acme.example")
        assert parsed["dns_lookups"] <= 10 and parsed["void_dns_lookups"] <= 2, parsed
        costs = max(costs, parsed["dns_lookups"])
    except Exception as e:  # whatever it does not accept
        wrong += 1
        print("checkdmarc:", repr(e), world["texts"])
print(f"{policies} policies, {asked} addresses asked of pyspf, most lookups by checkdmarc {costs}, {wrong} disagreements")
sys.exit(wrong > 0)
