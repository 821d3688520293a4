# SPDX-License-Identifier: Apache-2.0
"""Whoever has broken into the dispatcher's host has the credentials of the copies. This one does its worst with them.

    attacker.py http://127.0.0.1:8000/BUCKET ACCESS SECRET [SECONDS [SEED]]

attacks a bucket; copy into it before, and adopt from it afterwards: every locked checkpoint must be there.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import random
import re
import socket
import sys
import time
import urllib.parse


class Client:
    """The protocol of S3 with one pair of credentials."""

    def __init__(self, url, access, secret, region="us-east-1"):
        parsed = urllib.parse.urlsplit(url)
        self.host, self.bucket = parsed.netloc, parsed.path.strip("/").split("/")[0]
        self.access, self.secret, self.region = access, secret, region
        self.connection = http.client.HTTPConnection(self.host, timeout=30)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method, key, query=None, body=b"", headers=None):
        """(status, body). Never raises for what the store answers."""
        now = datetime.datetime.now(datetime.timezone.utc)
        path = "/" + self.bucket + ("/" + key if key else "")
        text = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}"
                        for k, v in sorted((query or {}).items()))
        given = {"host": self.host, "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
                 "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), **(headers or {})}
        if body:
            given["content-md5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
        names = sorted(given)
        lines = [method, path, text, *(f"{name}:{given[name]}" for name in names), "", ";".join(names), given["x-amz-content-sha256"]]
        scope = f"{now:%Y%m%d}/{self.region}/s3/aws4_request"
        signed = "\n".join(["AWS4-HMAC-SHA256", given["x-amz-date"], scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
        secret = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        given["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, SignedHeaders={';'.join(names)}, "
                                  f"Signature={hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest()}")
        self.connection.request(method, path + ("?" + text if text else ""), body, given)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def versions(self, prefix=""):
        """(key, version, is_marker) of the first thousand."""
        _status, body = self.ask("GET", "", {"versions": "", "prefix": prefix})
        found = re.findall(rb"<(Version|DeleteMarker)>.*?<Key>([^<]+)</Key>.*?<VersionId>([^<]+)</VersionId>", body, re.DOTALL)
        return [(key.decode(), version.decode(), kind == b"DeleteMarker") for kind, key, version in found]


BYPASS = {"x-amz-bypass-governance-retention": "true"}


def set_lock(client, key, version, mode, days):
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    body = (f'<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>{mode}</Mode>'
            f"<RetainUntilDate>{until:%Y-%m-%dT%H:%M:%SZ}</RetainUntilDate></Retention>").encode()
    return client.ask("PUT", key, {"retention": "", "versionId": version}, body, BYPASS)


def flood(client, key, size, rounds):
    for _ in range(rounds):
        client.ask("PUT", key, body=b"x" * size)


def forge(client, key, random_):
    """A checkpoint that is another one under a name of the future, and one of any content."""
    status, body = client.ask("GET", key, headers={"range": "bytes=0-9999999"})
    if status in (200, 206):
        client.ask("PUT", re.sub(r"/\d{14}-", "/99991231235959-", key), body=body)
    name = hashlib.sha256(str(random_.random()).encode()).hexdigest()
    client.ask("PUT", re.sub(r"/\d{14}-[0-9a-f]+", f"/20990101000000-{name}", key), body=b"no checkpoint")


def attack_once(client, random_):
    versions = client.versions()
    if not versions:
        return
    key, version, _marker = random_.choice(versions)
    what = random_.randrange(8)
    if what == 0:
        client.ask("DELETE", key, {"versionId": version}, headers=BYPASS)
    elif what == 1:
        client.ask("DELETE", key)
    elif what == 2:
        client.ask("PUT", key, body=random_.randbytes(random_.randrange(1, 5000)))
    elif what == 3:
        set_lock(client, key, version, "COMPLIANCE", 0)
    elif what == 4:
        set_lock(client, key, version, "GOVERNANCE", 9000)
        client.ask("DELETE", key, {"versionId": version}, headers=BYPASS)
    elif what == 5 and "/checkpoints/" in key:
        forge(client, key, random_)
    elif what == 6:
        client.ask("POST", key, {"uploads": ""})
    else:
        client.ask("PUT", "", {"versioning": ""}, b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>")


def attack(client, seconds, seed=1):
    """Everything that the credentials allow, in any order. Returns how many tries there were."""
    random_, tries = random.Random(seed), 0
    first = client.versions()
    for key, version, _marker in first:
        client.ask("DELETE", key, {"versionId": version}, headers=BYPASS)
    checkpoints = [key for key, _version, _marker in first if "/checkpoints/" in key]
    for key in random_.sample(checkpoints, min(2, len(checkpoints))):
        flood(client, key, 100, 70)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        attack_once(client, random_)
        tries += 1
    return tries


def main():
    url, access, secret = sys.argv[1:4]
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 60
    seed = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    print(f"{attack(Client(url, access, secret), seconds, seed)} tries, seed {seed}")


if __name__ == "__main__":
    main()
