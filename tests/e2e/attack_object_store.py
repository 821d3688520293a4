# SPDX-License-Identifier: Apache-2.0
"""The attacker of test_copy.py against a real object store, for as long as you like.

    BLXREP_BIN=build-dev/bin tests/e2e/attack_object_store.py http://127.0.0.1:8000 BUCKET ACCESS SECRET [SECONDS]

It makes BUCKET with object lock, copies two checkpoints into it with a COMPLIANCE lock, attacks them with the very credentials, and restores
both. Needs root for a loop device, and a store that nobody needs: what is locked stays there for a day.
"""

import os
import sys

from attacker import Client, attack
from case import Case
from checks import check_equal
from workloads import fill


def make_bucket(client):
    status, body = client.ask("PUT", "", headers={"x-amz-bucket-object-lock-enabled": "true"})
    if status != 200:
        raise SystemExit(f"cannot make the bucket: {status} {body.decode()}")
    client.ask("PUT", "", {"versioning": ""}, b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")


class Attack(Case):
    where = None

    def command(self, command, *words, data_dir=None):
        done = self.cli.run("dispatcher", command, f"--data-dir={data_dir or self.data_dir}",
                            f"--config={self.path('config.yaml')}", *words, check=False)
        print(done.stdout, done.stderr, sep="", end="", flush=True)
        return done

    def configure(self):
        url, bucket, access, secret = self.where[:4]
        with open(self.path("credentials"), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"aws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
        with open(self.path("config.yaml"), "w", encoding="ascii") as file:
            file.write(f'object-store: {{ url: "{url}/{bucket}/room", credentials: "{self.path("credentials")}", '
                       'lock: "compliance 1d", every: "1s" }\n')
        return Client(f"{url}/{bucket}", access, secret)

    def test_every_locked_checkpoint_restores(self):
        client = self.configure()
        make_bucket(client)
        self.command("object-store", "check")
        disk = self.loop_disk(32)
        files = disk.make("ext4")
        self.start_dispatcher()
        agent = self.start_agent("web1", disk)
        expected = []
        for name in ("first", "second"):
            files.mount() if not os.path.ismount(files.path) else None
            fill(f"{files.path}/{name}", 4)
            files.umount()
            expected.append((self.checkpoint("web1"), disk.copy(self.path(f"original-{name}"))))
            self.assertIn("LOCKED UNTIL", self.command("copy").stdout)
        agent.stop()
        seconds = float(self.where[4]) if len(self.where) > 4 else 60
        print(f"{attack(client, seconds)} tries in {seconds} s")
        url = f"{self.where[0]}/{self.where[1]}/room"
        for stamp, original in expected:
            image = self.path("image")
            self.assertEqual(self.command("restore", "--agent=web1", f"--checkpoint={stamp}", f"--output={image}",
                                          f"--cache-dir={self.path('cache')}", data_dir=url).returncode, 0)
            check_equal(image, original)
            os.unlink(image)
        print("every locked checkpoint restored")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    Attack.where, sys.argv[1:] = sys.argv[1:], []
    from case import main
    main()
