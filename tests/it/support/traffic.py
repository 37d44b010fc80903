"""Users at work: each holds a session, asks something ten times a second, and logs in anew now and then.

traffic.py HOST SECONDS FILE: FILE has a line `USER PASSWORD` each. Prints a JSON object: user -> asked, logins, errors (texts).
A session that ends is opened again; that is an error of its user. Users that are named `!USER` are being moved: what they meet is
reported as `ended`, and no error.
"""
import imaplib, json, socket, ssl, sys, threading, time

host, seconds, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context()
end = time.monotonic() + seconds
report = {}


def login(user, password):
    c = imaplib.IMAP4_SSL(host, ssl_context=context, timeout=20)
    c.login(user, password)
    assert c.select("INBOX")[0] == "OK"
    return c


def work(user, password, moving, mine):
    session, opened = None, 0.0
    while time.monotonic() < end:
        try:
            if session is None or (not moving and time.monotonic() - opened > 3):
                if session is not None:
                    session.logout()
                session, opened = login(user, password), time.monotonic()
                mine["logins"] += 1
            if session.noop()[0] != "OK" or session.status("INBOX", "(MESSAGES)")[0] != "OK":
                raise RuntimeError("not OK")
            mine["asked"] += 2
        except (OSError, imaplib.IMAP4.error, RuntimeError) as e:
            mine["ended" if moving else "errors"].append(f"{time.time():.3f} {type(e).__name__}: {e}"[:200])
            session = None
            time.sleep(0.05)
        time.sleep(0.1)
    try:
        if session is not None:
            session.logout()
    except (OSError, imaplib.IMAP4.error):
        pass


threads = []
for line in open(path):
    user, password = line.split()
    moving = user.startswith("!")
    user = user.lstrip("!")
    mine = report[user] = {"asked": 0, "logins": 0, "errors": [], "ended": []}
    threads.append(threading.Thread(target=work, args=(user, password, moving, mine)))
for t in threads:
    t.start()
    time.sleep(0.01)
for t in threads:
    t.join()
print(json.dumps(report))
