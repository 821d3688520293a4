# SPDX-License-Identifier: Apache-2.0
# fish completion for blxrep, blxrep-agent and blxrep-dispatcher

set -l commands start check enroll show info restore mount files object-store checkpoint rescan revoke renew renew-ca retire-ca status verify prune pin unpin remove archive policy log pause resume join keygen
set -l of_dispatcher start check enroll show info restore mount files object-store checkpoint rescan revoke renew renew-ca retire-ca status verify prune pin unpin remove archive policy log pause resume
set -l none "not __fish_seen_subcommand_from $commands"

complete -c blxrep -f
complete -c blxrep -n $none -a "$commands help dispatcher agent"

# __blxrep_option DAEMONS SUBCOMMANDS ...: blxrep-agent and blxrep-dispatcher take the options that `start` takes for them.
function __blxrep_option
    set -l daemons $argv[1]
    set -l subcommands $argv[2]
    for daemon in (string split -n " " -- $daemons)
        complete -c $daemon $argv[3..-1]
    end
    complete -c blxrep -n "__fish_seen_subcommand_from $subcommands" $argv[3..-1]
end

set -l both "blxrep-agent blxrep-dispatcher"
__blxrep_option "$both" "$commands" -l config -r -F -d "Configuration file"
__blxrep_option "$both" "$commands" -l help -f -d "Print the help"
__blxrep_option "$both" "$commands" -l version -f -d "Print the version"
__blxrep_option "$both" "start check" -l log-format -x -a "text json" -d "How the log is written"
__blxrep_option "$both" "start check" -l verbose -f -d "Also log debug lines"
__blxrep_option "" "start check" -l mode -x -a "agent dispatcher" -d "Which daemon to start"
__blxrep_option blxrep-agent "start check" -l id -x -d "This agent's ID"
__blxrep_option blxrep-agent "start check enroll join" -l dispatcher-addr -x -d "The address at which the dispatcher listens"
__blxrep_option blxrep-agent "start check restore join files" -l device -r -F -d "A block device, repeatable"
__blxrep_option blxrep-agent "start check" -l exclude -x -d "Leave out devices with this name or path"
__blxrep_option blxrep-agent "start check join" -l credentials -r -F -d "The agent's key and certificates"
__blxrep_option blxrep-agent "start check" -l encryption-key -r -F -d "Encrypt all that is sent with this key"
__blxrep_option blxrep-agent "start check status" -l run-dir -x -a "(__fish_complete_directories)" -d "The folder for state that survives a restart"
__blxrep_option blxrep-agent "start check" -l compression -x -a "auto zstd zlib none" -d "How blocks are compressed"
__blxrep_option blxrep-agent "start check" -l bandwidth-limit -x -d "The most bytes to send per second"
__blxrep_option blxrep-agent "start check" -l skip-free-space -x -a "yes no" -d "Leave free space out of a full pass"
__blxrep_option blxrep-agent "start check" -l freeze -x -a "yes no" -d "Freeze the filesystems for a checkpoint"
__blxrep_option blxrep-agent "start check" -l freeze-budget -x -d "How long reading may take during a freeze"
__blxrep_option blxrep-agent "start check" -l freeze-limit -x -d "Thaw after this time"
__blxrep_option blxrep-agent "start check" -l disk-timeout -x -d "Leave out a disk that has not answered for this time"
__blxrep_option blxrep-agent "start check" -l freeze-buffer -x -d "Memory for the blocks read during a freeze"
__blxrep_option blxrep-agent "start check" -l pre-freeze -r -d "Command to run before the freeze"
__blxrep_option blxrep-agent "start check" -l post-thaw -r -d "Command to run after the thaw"
__blxrep_option "$both" "start check" -l hook-timeout -x -d "Kill a hook command after this time"
__blxrep_option blxrep-dispatcher "start check" -l prune-grace -x -d "Announce new rules of retention for this time"
__blxrep_option blxrep-dispatcher "$of_dispatcher" -l data-dir -x -a "(__fish_complete_directories)" -d "The dispatcher's data directory"
__blxrep_option blxrep-dispatcher "start check" -l sync-freq -x -d "Minutes between checkpoints"
__blxrep_option blxrep-dispatcher "start check" -l admit -x -d "Admit only agents with this ID or pattern"
__blxrep_option blxrep-dispatcher "start check" -l listen -x -d "The address at which to listen"
__blxrep_option blxrep-dispatcher "start check" -l metrics-listen -x -d "The address at which to serve metrics"
__blxrep_option blxrep-dispatcher "start check" -l rewrite-rate -x -d "Bytes per second to copy to rewrite segments"
__blxrep_option blxrep-dispatcher "start check" -l on-event -r -d "Command to run when something needs attention"
__blxrep_option blxrep-dispatcher "start check policy prune" -l policy-dir -x -a "(__fish_complete_directories)" -d "The folder of the policies"
__blxrep_option "" "enroll show info restore mount files checkpoint rescan revoke keygen verify prune pin unpin remove archive policy log pause resume" -l agent -x -d "The agent"
__blxrep_option "" "info restore mount files pin unpin remove" -l checkpoint -x -a latest -d "The checkpoint"
__blxrep_option "" show -l start -x -d "The first time to show"
__blxrep_option "" show -l end -x -d "The last time to show"
__blxrep_option "" show -l since -x -d "Only the checkpoints of the last T"
__blxrep_option "" show -l last -x -d "Only the newest N checkpoints"
__blxrep_option "" "show info log" -l utc -f -d "Print times in UTC"
__blxrep_option "" "enroll restore keygen files" -l output -r -F -d "Where to write"
__blxrep_option "" "restore mount files" -l key -r -F -d "The key that the checkpoint is encrypted with"
__blxrep_option "" restore -l delta -f -d "Bring an existing image or device up to date"
__blxrep_option "" restore -l resume -f -d "Continue with the file that an interrupted restore left"
__blxrep_option blxrep-dispatcher "start enroll" -l init -f -d "Make the data directory a store if it is empty or missing"
__blxrep_option "" restore -l format -x -a "raw qcow2 vmdk vhd vhdx" -d "The kind of image to write"
__blxrep_option "" restore -l incomplete -f -d "Restore the other disks of a checkpoint that lacks one"
__blxrep_option "" object-store -l action -x -a check -d "What to do"
__blxrep_option "" mount -l writable -r -F -d "Let the files be written"
__blxrep_option "" mount -l foreground -f -d "Stay in the foreground"
__blxrep_option "" mount -l idle -x -d "End the mount if nobody has used it for this time"
__blxrep_option "" mount -l mountpoint -x -a "(__fish_complete_directories)" -d "The empty folder to mount at"
__blxrep_option "" files -l kernel -f -d "Have this host's kernel read the filesystem"
__blxrep_option "" files -l path -x -d "A file, a folder or a pattern on the server"
__blxrep_option "" enroll -l token -f -d "Print a token for a server that joins"
__blxrep_option "" join -l token -x -d "The token"
__blxrep_option "" join -l token-file -r -F -d "A file that holds the token"
__blxrep_option "" "restore join revoke retire-ca files" -l force -f -d "Replace an existing file, write to a device in use, leave damaged parts zero"
__blxrep_option "" prune -l keep-last -x -d "Keep the newest N checkpoints"
__blxrep_option "" prune -l keep-hourly -x -d "Keep the newest one of each of the last N hours"
__blxrep_option "" prune -l keep-daily -x -d "Keep the newest one of each of the last N days"
__blxrep_option "" prune -l keep-weekly -x -d "Keep the newest one of each of the last N ISO weeks"
__blxrep_option "" prune -l keep-monthly -x -d "Keep the newest one of each of the last N months"
__blxrep_option "" prune -l keep-yearly -x -d "Keep the newest one of each of the last N years"
__blxrep_option "" prune -l keep-within -x -d "Keep all that are at most T older than the newest one"
__blxrep_option "" prune -l min-age -x -d "Keep all that are younger than T"
__blxrep_option "" prune -l confirm -f -d "Prune even if far more than usual goes"
__blxrep_option "" log -l verify -f -d "Check that no line was changed or taken out"
__blxrep_option "" remove -l volume -x -d "Only this volume, of every checkpoint"
__blxrep_option "" remove -l uncommitted -f -d "Only what was received and is in no checkpoint"
__blxrep_option "" remove -l yes -f -d "Do not ask"
__blxrep_option "" archive -l undo -f -d "Let the agent go on"
__blxrep_option "" "prune restore remove retire-ca" -l dry-run -f -d "Do nothing; print what would be done"
__blxrep_option "" "show info status verify prune policy log check object-store" -l json -f -d "Print JSON"
__blxrep_option "" status -l watch -f -d "Refresh until q or Ctrl-C"
__blxrep_option "" keygen -l check -r -F -d "Tell which checkpoints this key opens"
__blxrep_option "" keygen -l print -r -F -d "Print this key for paper"
__blxrep_option "" status -l check -f -d "Exit with status 1 unless all agents are protected"

functions -e __blxrep_option
