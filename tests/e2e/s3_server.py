# SPDX-License-Identifier: Apache-2.0
"""A small object store on loopback that speaks S3's protocol, checks every signature, and lies where a test has it lie."""

import base64
import datetime
import hashlib
import hmac
import html
import http.server
import re
import secrets
import threading
import urllib.parse
from email.utils import formatdate
from xml.sax.saxutils import escape

ACCESS, SECRET, REGION = "blxrep-test", "c2VjcmV0/with+signs=", "us-east-1"
LATEST_SKEW = 900


class Refusal(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class Version:
    def __init__(self, content, marker=False):
        self.id = secrets.token_hex(16)
        self.content = content
        self.marker = marker
        self.mode, self.until = None, None
        self.written = datetime.datetime.now(datetime.timezone.utc)

    def is_locked(self):
        return self.mode is not None and self.until > datetime.datetime.now(datetime.timezone.utc)


class Upload:
    def __init__(self, key):
        self.key, self.parts = key, {}
        self.begun = datetime.datetime.now(datetime.timezone.utc)


def parse_date(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    @property
    def lies(self):
        return self.server.lies

    def answer(self, status, body=b"", headers=()):
        self.send_response_only(status)
        self.send_header("Server", "lying-store" if self.lies else "honest-store")
        self.send_header("Date", formatdate(datetime.datetime.now().timestamp() + self.server.clock_ahead_s, usegmt=True))
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if "cut bodies" in self.lies and len(body) > 4:
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

    def check_signature(self, body):
        """AWS Signature Version 4, from its description and not from the client's source."""
        parsed = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?"
                              r"Signature=([0-9a-f]{64})", self.headers.get("Authorization", ""))
        if parsed is None:
            raise Refusal(403, "AccessDenied", "no signature")
        access, day, region, names, given = parsed.groups()
        if access != ACCESS:
            raise Refusal(403, "InvalidAccessKeyId")
        if region != REGION:
            raise Refusal(400, "AuthorizationHeaderMalformed", f"the region is {REGION}")
        for name in self.headers:
            if name.lower().startswith("x-amz-") and name.lower() not in names.split(";"):
                raise Refusal(403, "AccessDenied", f"{name} is not signed")
        date = self.headers["x-amz-date"]
        moment = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.server.clock_ahead_s)
        if abs((now - moment).total_seconds()) > LATEST_SKEW:
            raise Refusal(403, "RequestTimeTooSkewed")
        path, _, query = self.path.partition("?")
        pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        canonical_query = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
        content_hash = hashlib.sha256(body).hexdigest()
        if self.headers["x-amz-content-sha256"] != content_hash:
            raise Refusal(400, "XAmzContentSHA256Mismatch")
        lines = [self.command, path, canonical_query]
        lines += [f"{name}:{' '.join(self.headers[name].split())}" for name in names.split(";")]
        lines += ["", names, content_hash]
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
        key = ("AWS4" + SECRET).encode()
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        if hmac.new(key, text.encode(), hashlib.sha256).hexdigest() != given:
            raise Refusal(403, "SignatureDoesNotMatch")

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.requests.append(f"{self.command} {self.path}")
            if self.server.busy > 0:
                self.server.busy -= 1
                return self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
            try:
                self.check_signature(body)
                path, _, query = self.path.partition("?")
                bucket, _, key = path.lstrip("/").partition("/")
                if bucket != self.server.bucket:
                    raise Refusal(404, "NoSuchBucket")
                asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
                return self.serve_key(key, asked, body) if key else self.serve_bucket(asked)
            except Refusal as refusal:
                text = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
                return self.answer(refusal.status, text.encode())

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = serve

    def serve_bucket(self, asked):
        if "versioning" in asked:
            status = "<Status>Enabled</Status>" if self.server.versioned else ""
            return self.answer(200, f"<VersioningConfiguration>{status}</VersioningConfiguration>".encode())
        if "object-lock" in asked:
            if not self.server.lockable:
                raise Refusal(404, "ObjectLockConfigurationNotFoundError")
            return self.answer(200, b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
                                    b"</ObjectLockConfiguration>")
        if "versions" in asked:
            return self.answer(200, self.list_versions(asked).encode())
        if "uploads" in asked:
            listed = "".join(f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{name}</UploadId>"
                             f"<Initiated>{upload.begun:%Y-%m-%dT%H:%M:%S.000Z}</Initiated></Upload>"
                             for name, upload in self.server.uploads.items() if upload.key.startswith(asked.get("prefix", "")))
            return self.answer(200, f"<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>".encode())
        raise Refusal(501, "NotImplemented")

    def list_versions(self, asked):
        prefix, most = asked.get("prefix", ""), int(asked.get("max-keys", 1000))
        if "endless list" in self.lies:
            return ("<ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>"
                    "<NextVersionIdMarker>b</NextVersionIdMarker></ListVersionsResult>")
        if "entities" in self.lies:
            return '<!DOCTYPE a [<!ENTITY b "c">]><ListVersionsResult><Version><Key>&b;</Key></Version></ListVersionsResult>'
        entries = [(key, version, version is versions[-1]) for key, versions in sorted(self.server.keys.items())
                   if key.startswith(prefix) for version in reversed(versions)]
        if "small pages" in self.lies:
            most = min(most, 3)
        if asked.get("delimiter") == "/":
            folders = sorted({key[:key.index("/", len(prefix)) + 1] for key in self.server.keys
                              if key.startswith(prefix) and "/" in key[len(prefix):]})
            listed = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
            return f"<ListVersionsResult>{listed}</ListVersionsResult>"
        if "key-marker" in asked:
            places = [i for i, (key, version, _) in enumerate(entries)
                      if (key, version.id) == (asked["key-marker"], asked.get("version-id-marker"))]
            entries = entries[places[0] + 1:] if places else []
        text = '<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        for key, version, newest in entries[:most]:
            kind = "DeleteMarker" if version.marker else "Version"
            text += (f"<{kind}><Key>{escape(key)}</Key><VersionId>{version.id}</VersionId>"
                     f"<IsLatest>{str(newest).lower()}</IsLatest>"
                     f"<LastModified>{version.written:%Y-%m-%dT%H:%M:%S.000Z}</LastModified><Size>{len(version.content)}</Size></{kind}>")
        if len(entries) > most:
            key, version, _ = entries[most - 1]
            text += (f"<IsTruncated>true</IsTruncated><NextKeyMarker>{escape(key)}</NextKeyMarker>"
                     f"<NextVersionIdMarker>{version.id}</NextVersionIdMarker>")
        return text + "</ListVersionsResult>"

    def find(self, key, asked):
        versions = self.server.keys.get(key, [])
        if "versionId" in asked:
            versions = [version for version in versions if version.id == asked["versionId"]]
            if not versions:
                raise Refusal(404, "NoSuchVersion")
        if not versions or versions[-1].marker:
            raise Refusal(404, "NoSuchKey")
        return versions[-1]

    def serve_key(self, key, asked, body):
        if "retention" in asked:
            return self.get_retention(key, asked) if self.command == "GET" else self.set_retention(key, asked, body)
        if self.command == "HEAD":
            return self.head(key)
        if self.command == "GET":
            return self.get(self.find(key, asked))
        if "uploads" in asked or "uploadId" in asked:
            return self.serve_upload(key, asked, body)
        if self.command == "PUT":
            return self.put(key, body)
        if self.command == "DELETE":
            return self.delete(key, asked)
        raise Refusal(501, "NotImplemented")

    def get(self, version):
        content = version.content
        if "other bytes" in self.lies:
            content = bytes(byte ^ 1 for byte in content)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
        return self.answer(206, content[int(first):int(last) + 1])

    def put(self, key, body):
        given = base64.b64encode(hashlib.md5(body).digest()).decode()
        if self.headers["Content-MD5"] != given:
            raise Refusal(400, "BadDigest")
        versions = self.server.keys.setdefault(key, [])
        if self.headers["If-None-Match"] == "*" and "write twice" not in self.lies and versions and not versions[-1].marker:
            raise Refusal(412, "PreconditionFailed")
        version = Version(body)
        if "x-amz-object-lock-mode" in self.headers:
            if not self.server.lockable:
                raise Refusal(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
            if "forget locks" not in self.lies:
                version.mode = self.headers["x-amz-object-lock-mode"]
                version.until = parse_date(self.headers["x-amz-object-lock-retain-until-date"])
        if not self.server.versioned or "lose versions" in self.lies:
            versions.clear()
        versions.append(version)
        return self.answer(200, b"", [("x-amz-version-id", version.id)] if self.server.versioned else [])

    def head(self, key):
        try:
            version = self.find(key, {})
        except Refusal as refusal:
            self.send_response_only(refusal.status)
        else:
            self.send_response_only(200)
            self.send_header("Content-Length", str(len(version.content)))
        self.end_headers()

    def serve_upload(self, key, asked, body):
        """Parts, which become an object at the end. As with radosgw it has no lock then."""
        uploads = self.server.uploads
        if self.command == "POST" and "uploads" in asked:
            name = secrets.token_hex(16) + "~+/="
            uploads[name] = Upload(key)
            return self.answer(200, f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId>"
                                    "</InitiateMultipartUploadResult>".encode())
        upload = uploads.get(asked["uploadId"])
        if upload is None or upload.key != key:
            raise Refusal(404, "NoSuchUpload")
        if self.command == "PUT":
            upload.parts[int(asked["partNumber"])] = body
            return self.answer(200, b"", [("ETag", f'"{hashlib.md5(body).hexdigest()}"')])
        del uploads[asked["uploadId"]]
        if self.command == "DELETE":
            return self.answer(204)
        named = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", body.decode())]
        etags = [html.unescape(text).strip('"') for text in re.findall(r"<ETag>([^<]+)</ETag>", body.decode())]
        if named != sorted(upload.parts) or etags != [hashlib.md5(upload.parts[number]).hexdigest() for number in named]:
            raise Refusal(400, "InvalidPart")
        version = Version(b"".join(upload.parts[number] for number in named))
        self.server.keys.setdefault(key, []).append(version)
        self.server.put_together += 1
        return self.answer(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>",
                           [("x-amz-version-id", version.id)])

    def may_bypass(self, version):
        return version.mode == "GOVERNANCE" and self.headers["x-amz-bypass-governance-retention"] == "true" \
            and self.server.bypass

    def delete(self, key, asked):
        if "versionId" not in asked:
            if self.server.versioned:
                self.server.keys.setdefault(key, []).append(Version(b"", marker=True))
            else:
                self.server.keys.pop(key, None)
            return self.answer(204)
        for version in self.server.keys.get(key, []):
            if version.id == asked["versionId"]:
                if version.is_locked() and not self.may_bypass(version) and "delete locked" not in self.lies:
                    raise Refusal(403, "AccessDenied", "the object is locked")
                self.server.keys[key].remove(version)
        return self.answer(204)

    def get_retention(self, key, asked):
        version = self.find(key, asked)
        if version.mode is None:
            raise Refusal(404, "NoSuchObjectLockConfiguration")
        return self.answer(200, f"<Retention><Mode>{version.mode}</Mode><RetainUntilDate>"
                                f"{version.until:%Y-%m-%dT%H:%M:%SZ}</RetainUntilDate></Retention>".encode())

    def set_retention(self, key, asked, body):
        version = self.find(key, asked)
        text = body.decode()
        until = parse_date(re.search("<RetainUntilDate>([^<]+)", text)[1])
        mode = re.search("<Mode>([^<]+)", text)[1]
        if version.is_locked() and until < version.until and not self.may_bypass(version) and "shorten locks" not in self.lies:
            raise Refusal(403, "AccessDenied", "the object is locked")
        if version.is_locked() and (version.mode, mode) == ("COMPLIANCE", "GOVERNANCE") and "weaken locks" not in self.lies:
            raise Refusal(403, "AccessDenied", "the object is locked")
        if version.is_locked() and version.mode != mode and "keep modes" in self.lies:
            raise Refusal(403, "AccessDenied", "the mode cannot be changed")
        version.mode, version.until = mode, until
        return self.answer(200)


class Store(http.server.ThreadingHTTPServer):
    """`lies`: what it does in spite of what it says. `bypass`: the credentials may lift a GOVERNANCE lock."""
    daemon_threads = True

    def __init__(self, *lies, bucket="copies", versioned=True, lockable=True, bypass=True):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lies, self.bucket, self.versioned, self.lockable, self.bypass = lies, bucket, versioned, lockable, bypass
        self.keys, self.requests, self.busy, self.clock_ahead_s = {}, [], 0, 0
        self.uploads, self.put_together = {}, 0
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self):
        self.shutdown()
        self.server_close()
        self._thread.join()
