/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/examples.h"

#include <stddef.h>

static const struct {
    enum blx_command command;
    const char *lines;
} examples[] = {
    {BLX_COMMAND_START,
     "  blxrep start --mode=dispatcher --data-dir=/var/lib/blxrep --sync-freq=3\n"
     "  blxrep start --mode=agent --id=web1 --dispatcher-addr=backup.example.org:8080 "
     "--device=/dev/vda\n"},
    {BLX_COMMAND_CHECK, "  blxrep check\n"
                        "  blxrep check --config=/etc/blxrep/config.yaml --json\n"},
    {BLX_COMMAND_ENROLL,
     "  blxrep dispatcher enroll --agent=web1 --data-dir=/var/lib/blxrep --token\n"
     "  blxrep dispatcher enroll --agent=web1 --data-dir=/var/lib/blxrep "
     "--output=/root/web1.pem\n"},
    {BLX_COMMAND_JOIN,
     "  blxrep agent join --dispatcher-addr=backup.example.org:8080 --device=/dev/vda\n"
     "  blxrep agent join --dispatcher-addr=backup.example.org:8080 --token-file=/root/token "
     "--force\n"},
    {BLX_COMMAND_KEYGEN,
     "  blxrep keygen --output=/etc/blxrep/blxrep.key\n"
     "  blxrep keygen --check=/etc/blxrep/blxrep.key --data-dir=/var/lib/blxrep\n"
     "  blxrep keygen --print=/etc/blxrep/blxrep.key | lpr\n"},
    {BLX_COMMAND_REVOKE,
     "  blxrep dispatcher revoke --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher revoke --agent=db9 --data-dir=/var/lib/blxrep --force\n"},
    {BLX_COMMAND_RENEW, "  blxrep dispatcher renew --data-dir=/var/lib/blxrep\n"
                        "  blxrep dispatcher renew --config=/etc/blxrep/config.yaml\n"},
    {BLX_COMMAND_RENEW_CA, "  blxrep dispatcher renew-ca --data-dir=/var/lib/blxrep\n"
                           "  blxrep dispatcher renew-ca --config=/etc/blxrep/config.yaml\n"},
    {BLX_COMMAND_RETIRE_CA, "  blxrep dispatcher retire-ca --data-dir=/var/lib/blxrep --dry-run\n"
                            "  blxrep dispatcher retire-ca --data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_TEST,
     "  blxrep dispatcher test --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher test --agent=db1 --data-dir=/var/lib/blxrep --within=10m "
     "--command=\"systemctl is-active postgresql\"\n"},
    {BLX_COMMAND_SHOW,
     "  blxrep dispatcher show --agent=web1 --data-dir=/var/lib/blxrep --last=20\n"
     "  blxrep dispatcher show --agent=web1 --data-dir=/var/lib/blxrep --start=\"yesterday "
     "18:00\"\n"},
    {BLX_COMMAND_INFO,
     "  blxrep dispatcher info --checkpoint=latest --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher info --checkpoint=\"2h ago\" --agent=web1 --data-dir=/var/lib/blxrep "
     "--json\n"
     "  blxrep dispatcher info --checkpoint=latest --compare=\"2h ago\" --agent=web1 "
     "--data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_RESTORE, "  blxrep dispatcher restore --checkpoint=latest --agent=web1 "
                          "--data-dir=/var/lib/blxrep --output=/mnt/web1.img\n"
                          "  blxrep dispatcher restore --checkpoint=\"yesterday 18:00\" "
                          "--agent=web1 --data-dir=/var/lib/blxrep --dry-run\n"},
    {BLX_COMMAND_COPY, "  blxrep dispatcher copy --data-dir=/var/lib/blxrep --to=/mnt/copies\n"
                       "  blxrep dispatcher copy --data-dir=/var/lib/blxrep --agent=web1 "
                       "--bandwidth-limit=10M\n"},
    {BLX_COMMAND_ADOPT,
     "  blxrep dispatcher adopt --from=/mnt/copies --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher adopt --from=https://s3.example.org/copies/blxrep --agent=web1 "
     "--data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_PAGE, "  blxrep dispatcher page --data-dir=/var/lib/blxrep\n"
                       "  blxrep dispatcher page --data-dir=/var/lib/blxrep --role=viewer\n"},
    {BLX_COMMAND_OBJECT_STORE,
     "  blxrep dispatcher object-store check --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher object-store check --config=copies.yaml --json\n"},
    {BLX_COMMAND_PULL,
     "  blxrep agent restore --dispatcher-addr=backup.example.org:8080 --token-file=- "
     "--output=/dev/vda\n"
     "  blxrep agent restore --dispatcher-addr=backup.example.org:8080 --token-file=/root/token "
     "--output=/dev/vda --key=/root/blxrep.key\n"},
    {BLX_COMMAND_MOUNT, "  blxrep dispatcher mount --agent=web1 --data-dir=/var/lib/blxrep /mnt\n"
                        "  blxrep dispatcher mount --agent=web1 --data-dir=/var/lib/blxrep "
                        "--checkpoint=latest --writable /mnt\n"},
    {BLX_COMMAND_FILES,
     "  blxrep dispatcher files --agent=web1 --checkpoint=latest --data-dir=/var/lib/blxrep /etc\n"
     "  blxrep dispatcher files --agent=web1 --checkpoint=\"yesterday 18:00\" "
     "--data-dir=/var/lib/blxrep --output=. /etc/nginx \"/etc/*.conf\"\n"},
    {BLX_COMMAND_BOOT,
     "  blxrep dispatcher boot --agent=web1 --checkpoint=latest --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher boot --agent=web1 --checkpoint=latest --data-dir=/var/lib/blxrep "
     "--memory=8G --keep=web1.changes --network=user\n"},
    {BLX_COMMAND_CHECKPOINT,
     "  blxrep dispatcher checkpoint --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher checkpoint --agent=db1 --data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_RESCAN, "  blxrep dispatcher rescan --agent=web1 --data-dir=/var/lib/blxrep\n"
                         "  blxrep dispatcher rescan --agent=db1 --data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_STATUS,
     "  blxrep dispatcher status --data-dir=/var/lib/blxrep --watch\n"
     "  blxrep dispatcher status --data-dir=/var/lib/blxrep --check || mail -s backup root\n"},
    {BLX_COMMAND_VERIFY,
     "  blxrep dispatcher verify --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher verify --data-dir=/var/lib/blxrep --agent=web1 --json\n"},
    {BLX_COMMAND_PRUNE,
     "  blxrep dispatcher prune --data-dir=/var/lib/blxrep --dry-run --keep-daily=14 "
     "--keep-monthly=12\n"
     "  blxrep dispatcher prune --data-dir=/var/lib/blxrep --agent=web1 --keep-within=30d\n"},
    {BLX_COMMAND_REMOVE,
     "  blxrep dispatcher remove --agent=web1 --data-dir=/var/lib/blxrep --dry-run\n"
     "  blxrep dispatcher remove --agent=web1 --data-dir=/var/lib/blxrep --volume=vdb\n"},
    {BLX_COMMAND_ARCHIVE,
     "  blxrep dispatcher archive --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher archive --agent=web1 --data-dir=/var/lib/blxrep --undo\n"},
    {BLX_COMMAND_RENAME,
     "  blxrep dispatcher rename --agent=web1 --to=db1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher rename --agent=db1 --to=web1 --data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_MOVE, "  blxrep dispatcher move --agent=web1 --to=backup2 --data-dir=/srv/blxrep\n"
                       "  blxrep dispatcher move --agent=web1 --to=any --data-dir=/srv/blxrep\n"},
    {BLX_COMMAND_READMIT, "  blxrep dispatcher readmit --agent=web1 --data-dir=/var/lib/blxrep\n"
                          "  blxrep readmit --agent=web1 --data-dir=/srv/blxrep\n"},
    {BLX_COMMAND_PIN,
     "  blxrep dispatcher pin --checkpoint=latest --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher pin --checkpoint=20261128180000 --agent=web1 "
     "--data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_UNPIN,
     "  blxrep dispatcher unpin --checkpoint=latest --agent=web1 --data-dir=/var/lib/blxrep\n"
     "  blxrep dispatcher unpin --checkpoint=20261128180000 --agent=web1 "
     "--data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_POLICY, "  blxrep dispatcher policy --agent=web1\n"
                         "  blxrep dispatcher policy --agent=web1 --json\n"},
    {BLX_COMMAND_LOG, "  blxrep dispatcher log --data-dir=/var/lib/blxrep --agent=web1\n"
                      "  blxrep dispatcher log --data-dir=/var/lib/blxrep --verify\n"},
    {BLX_COMMAND_TEST_EVENT, "  blxrep dispatcher test-event --data-dir=/var/lib/blxrep\n"
                             "  blxrep dispatcher test-event --data-dir=/var/lib/blxrep "
                             "--on-event=\"/etc/blxrep/on-event/mail root@example.org\"\n"},
    {BLX_COMMAND_PAUSE, "  blxrep dispatcher pause --agent=web1 --data-dir=/var/lib/blxrep\n"
                        "  blxrep dispatcher pause --agent=db1 --data-dir=/var/lib/blxrep\n"},
    {BLX_COMMAND_RESCUE_IMAGE,
     "  blxrep dispatcher rescue-image --output=rescue.iso "
     "--dispatcher-addr=backup.example.org:8080 --kernel-package=linux-image-amd64\n"
     "  blxrep dispatcher rescue-image --pxe=/srv/tftp/blxrep --kernel-dir=/\n"},
    {BLX_COMMAND_TAKEOVER,
     "  blxrep agent takeover --rescue=/root/rescue --dispatcher-addr=backup.example.org:8080\n"
     "  blxrep agent takeover --rescue=/root/rescue --token-file=/root/token --output=/dev/vda "
     "--yes\n"},
    {BLX_COMMAND_SAVE, "  blxrep agent save --shutdown=reboot\n"
                       "  blxrep agent save --shutdown=reboot --save-file=/srv/reboot.save\n"},
    {BLX_COMMAND_ARM, "  blxrep agent arm\n"
                      "  blxrep agent arm --save-file=/srv/reboot.save\n"},
    {BLX_COMMAND_DISKS, "  blxrep agent disks\n"
                        "  blxrep agent disks | grep ext4\n"},
    {BLX_COMMAND_MOVE_GPT, "  blxrep agent move-gpt --output=/dev/vda\n"
                           "  blxrep agent move-gpt --output=disk.img\n"},
    {BLX_COMMAND_RESUME, "  blxrep dispatcher resume --agent=web1 --data-dir=/var/lib/blxrep\n"
                         "  blxrep dispatcher resume --agent=db1 --data-dir=/var/lib/blxrep\n"},
};

const char *cli_examples_of(enum blx_command command)
{
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        if (examples[i].command == command)
            return examples[i].lines;
    }
    return NULL;
}
