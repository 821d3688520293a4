# SPDX-License-Identifier: Apache-2.0
# bash completion for blxrep, blxrep-agent, blxrep-dispatcher and blxrep-pageblxrep-tester

_blxrep_options() {
    case $1 in
    start) echo --config --mode --id --dispatcher-addr --device --exclude --data-dir --init --standby --shared --sync-freq --listen --metrics-listen --memory-limit --rewrite-rate --on-event --on-heartbeat --heartbeat-freq \
        --policy-dir --credentials --encryption-key \
        --run-dir --compression --bandwidth-limit --skip-free-space --rescan-priority --rescan-cpus --freeze --freeze-budget --freeze-limit --disk-timeout --freeze-buffer --pre-freeze --post-thaw \
        --hook-timeout --prune-grace --admit --log-format --verbose --help --version ;;
    check) echo $(_blxrep_options start | sed 's/ --init / /') --json ;;
    agent) echo --config --id --dispatcher-addr --device --exclude --credentials --encryption-key --run-dir --compression --bandwidth-limit --skip-free-space --rescan-priority --rescan-cpus --freeze \
        --freeze-budget --freeze-limit --disk-timeout --freeze-buffer --pre-freeze --post-thaw --hook-timeout --log-format --verbose --help --version ;;
    dispatcher) echo --config --data-dir --init --standby --shared --sync-freq --listen --metrics-listen --memory-limit --rewrite-rate --on-event --on-heartbeat --heartbeat-freq --policy-dir --hook-timeout --prune-grace --admit --log-format --verbose --help --version ;;
    enroll) echo --config --agent --copier --data-dir --init --dispatcher-addr --output --token --help --version ;;
    keygen) echo --config --output --check --print --data-dir --agent --help --version ;;
    join) echo --config --credentials --device --dispatcher-addr --force --token --token-file --help --version ;;
    show) echo --config --agent --data-dir --cache-dir --cache-size --start --end --since --last --utc --json --help --version ;;
    restore) echo --config --agent --checkpoint --device --data-dir --cache-dir --cache-size --output --token --takes-over --dispatcher-addr --key --format --delta --resume --overlay --incomplete --dry-run --force --json --help --version ;;
    agent-restore) echo --config --dispatcher-addr --token-file --output --device --key --delta --files --path --resume --verify --state-dir --force --help --version ;;
    mount) echo --config --agent --checkpoint --data-dir --cache-dir --cache-size --key --writable --foreground --idle --mountpoint --help --version ;;
    boot) echo --config --agent --checkpoint --data-dir --cache-dir --cache-size --device --key --memory --cpus --network --keep --vnc --disk-bus --firmware --accelerator --incomplete --help --version ;;
    test) echo --config --agent --checkpoint --data-dir --cache-dir --cache-size --key --memory --cpus --disk-bus --firmware --accelerator --incomplete --within --expect --command --level --json --help --version ;;
    tester) echo --config --data-dir --key --memory --accelerator --test-jobs --log-format --verbose --help --version ;;
    files) echo --config --agent --checkpoint --device --data-dir --cache-dir --cache-size --output --key --kernel --kernel-dir --force --json --path --help --version ;;
    copy) echo --config --agent --data-dir --to --from --copier-credentials --heal --bandwidth-limit --json --help --version ;;
    adopt) echo --config --agent --checkpoint --data-dir --from --copier-credentials --key --bandwidth-limit --json --help --version ;;
    page) echo --config --data-dir --page-listen --role --help --version ;;
    page-server) echo --config --data-dir --page-listen --log-format --verbose --help --version ;;
    object-store) echo --config --action --data-dir --json --help --version ;;
    checkpoint) echo --config --agent --data-dir --json --help --version ;;
    rescan | pause | resume | readmit) echo --config --agent --data-dir --help --version ;;
    revoke) echo --config --agent --copier --data-dir --token --force --help --version ;;
    renew | renew-ca) echo --config --data-dir --help --version ;;
    retire-ca) echo --config --data-dir --dry-run --force --help --version ;;
    policy) echo --config --agent --data-dir --policy-dir --json --help --version ;;
    status) echo --config --data-dir --run-dir --json --watch --check --help --version ;;
    verify) echo --config --agent --data-dir --cache-dir --cache-size --json --help --version ;;
    prune) echo --config --agent --data-dir --keep-last --keep-hourly --keep-daily --keep-weekly --keep-monthly \
        --keep-yearly --keep-tested --keep-within --min-age --policy-dir --dry-run --confirm --json --help --version ;;
    remove) echo --config --agent --data-dir --volume --uncommitted --checkpoint --dry-run --yes --json --help --version ;;
    archive) echo --config --agent --data-dir --undo --help --version ;;
    rename) echo --config --agent --to --data-dir --help --version ;;
    move) echo --config --agent --to --data-dir --force --help --version ;;
    log) echo --config --agent --data-dir --verify --utc --json --help --version ;;
    test-event) echo --config --data-dir --on-event --hook-timeout --help --version ;;
    info) echo --config --agent --checkpoint --compare --data-dir --cache-dir --cache-size --key --utc --json --help --version ;;
    rescue-image) echo --config --output --pxe --dispatcher-addr --kernel-dir --kernel-package --help --version ;;
    takeover) echo --config --rescue --dispatcher-addr --token-file --output --dry-run --yes --help --version ;;
    disks) echo --config --help --version ;;
    save) echo --config --save-file --shutdown --run-dir --help --version ;;
    arm) echo --config --save-file --run-dir --help --version ;;
    move-gpt) echo --config --output --help --version ;;
    pin | unpin) echo --config --agent --checkpoint --data-dir --help --version ;;
    esac
}

_blxrep_value() {
    local option=$1 word=$2
    case $option in
    --config | --credentials | --copier-credentials | --encryption-key | --key | --print | --check | --token-file | --device | --output | --writable | --keep | --overlay) compgen -f -- "$word" ;;
    --to | --from | --data-dir | --cache-dir | --run-dir | --policy-dir | --state-dir | --mountpoint | --pxe | --kernel-dir | --rescue) compgen -d -- "$word" ;;
    --mode) compgen -W "agent dispatcher" -- "$word" ;;
    --network) compgen -W "none user" -- "$word" ;;
    --disk-bus) compgen -W "virtio sata scsi" -- "$word" ;;
    --firmware) compgen -W "auto bios uefi" -- "$word" ;;
    --accelerator) compgen -W "auto kvm none" -- "$word" ;;
    --rescan-priority) compgen -W "fast gentle" -- "$word" ;;
    --role) compgen -W "viewer operator" -- "$word" ;;
    --shutdown) compgen -W "reboot poweroff halt kexec" -- "$word" ;;
    --save-file) compgen -f -- "$word" ;;
    --level) compgen -W "1 2" -- "$word" ;;
    --log-format) compgen -W "text json" -- "$word" ;;
    --format) compgen -W "raw qcow2 vmdk vhd vhdx" -- "$word" ;;
    --compression) compgen -W "auto zstd zlib none" -- "$word" ;;
    --freeze | --skip-free-space) compgen -W "yes no" -- "$word" ;;
    --checkpoint) compgen -W "latest yesterday" -- "$word" ;;
    esac
}

_blxrep_without_value() {
    [[ $1 == --token && $2 != join ]] && return 0
    [[ $1 == --check && $2 == keygen ]] && return 1
    case $1 in
    --delta | --files | --kernel | --verify | --confirm | --writable | --vnc | --foreground | --utc | --resume | --incomplete | --init | --dry-run | --uncommitted | --takes-over | --yes | --undo | --force | --json | --watch | --check | --verbose | --help | --version) return 0 ;;
    esac
    return 1
}

_blxrep() {
    local commands="start check enroll show info restore mount files copy adopt object-store page boot test checkpoint rescan revoke renew renew-ca retire-ca status verify prune pin unpin remove archive rename move readmit policy log test-event pause resume keygen rescue-image"
    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command="" at=1
    # To bash, "=" is a separate word.
    if [[ $word == "=" ]]; then
        word=""
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case ${COMP_WORDS[0]##*/} in
    blxrep-agent) command=agent ;;
    blxrep-dispatcher) command=dispatcher ;;
    blxrep-page) command=page-server ;;
    blxrep-tester) command=tester ;;
    *)
        [[ ${COMP_WORDS[1]} == dispatcher && $COMP_CWORD -gt 1 ]] && at=2
        [[ ${COMP_WORDS[1]} == agent && $COMP_CWORD -gt 1 ]] && at=2 commands="join restore start check keygen takeover save arm disks move-gpt"
        [[ $COMP_CWORD -gt $at ]] && command=${COMP_WORDS[at]}
        [[ ${COMP_WORDS[1]} == agent && $command == restore ]] && command=agent-restore
        ;;
    esac
    if [[ -z $command ]]; then
        [[ $at -eq 1 ]] && commands+=" join takeover disks move-gpt help dispatcher agent --help --version"
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$word")
    elif [[ $previous == --* ]] && ! _blxrep_without_value "$previous" "$command"; then
        mapfile -t COMPREPLY < <(_blxrep_value "$previous" "$word")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(_blxrep_options "$command")" -- "$word")
    fi
}

complete -o filenames -F _blxrep blxrep blxrep-agent blxrep-dispatcher blxrep-pageblxrep-tester
