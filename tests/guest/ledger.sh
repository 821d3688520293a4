#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Commits numbered rows, one at a time, durably, and says on the second serial port which one the database has acknowledged.
set -euo pipefail
coproc base { exec sqlite3 /srv/ledger.db; }
ask() {
    echo "$1" >&"${base[1]}"
    read -r answer <&"${base[0]}"
}
ask "pragma journal_mode=wal;"
ask "pragma synchronous=full; create table if not exists entry (number integer primary key, text blob); select coalesce(max(number), 0) from entry;"
for ((number = answer + 1; ; number++)); do
    ask "insert into entry values ($number, randomblob(700)); select $number;"
    echo "ack $answer" >/dev/ttyS1
    sleep 0.1 # others need the emulated CPU, too
done
