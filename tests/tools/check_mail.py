"""Reads messages as others would: Python's email parser and dkimpy. Prints what it saw as JSON.

Usage: check_mail.py FOLDER. Reads FOLDER/*.eml and FOLDER/dns.json (TXT records by name); writes to stdout an object with
one entry per file: defects of any header or part, decoded headers, bodies and files, and the result of each signature.
"""

import email
import email.policy
import hashlib
import json
import pathlib
import sys

import dkim


def defects(message):
    found = []
    for part in message.walk():
        found += [repr(defect) for defect in part.defects]
        for name, value in part.items():
            found += [f"{name}: {defect!r}" for defect in getattr(value, "defects", ())]
    return found


def utf8(text):
    """Header fields that are UTF-8 (RFC 6532) come out of the parser as bytes in disguise."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8")


def addresses(message, name):
    header = message[name]
    return [[utf8(one.display_name), utf8(one.addr_spec)] for one in header.addresses] if header is not None else []


def body(message, kind):
    part = message.get_body((kind,))
    return part.get_content() if part is not None else None


def files(message):
    return sorted(
        [part.get_filename(), hashlib.sha256(part.get_payload(decode=True)).hexdigest(), part.get("Content-ID")]
        for part in message.walk()
        if part.get_filename() is not None
    )


def signatures(raw, records):
    checker = dkim.DKIM(raw)
    count = sum(1 for name, _ in checker.headers if name.lower() == b"dkim-signature")
    lookup = lambda name, timeout=5: records[name.decode().rstrip(".")].encode()
    return [checker.verify(idx=index, dnsfunc=lookup) for index in range(count)]


def check(raw, records):
    message = email.message_from_bytes(raw, policy=email.policy.default)
    return {
        "defects": defects(message),
        "subject": message["Subject"],
        "from": addresses(message, "From"),
        "to": addresses(message, "To"),
        "text": body(message, "plain"),
        "html": body(message, "html"),
        "files": files(message),
        "signatures": signatures(raw, records),
    }


def main():
    folder = pathlib.Path(sys.argv[1])
    records = json.loads((folder / "dns.json").read_text())
    seen = {path.name: check(path.read_bytes(), records) for path in sorted(folder.glob("*.eml"))}
    json.dump(seen, sys.stdout)


main()
