#!/usr/bin/env bash
# A Slurm of this one machine, with one GPU slot that is only counted, all of it in one folder but two links in /etc/slurm:
#   tests/slurm.sh start FOLDER    says when jobs are taken
#   tests/slurm.sh stop FOLDER     cancels all jobs and ends it
# It needs slurmctld, slurmd and munged (Debian: slurm-wlm, munge) and root.
set -euo pipefail
action=$1 folder=$(realpath -m "$2") node=$(hostname -s) user=$(id -un)

start() {
    if [ -e /etc/slurm/slurm.conf ] && [ ! -L /etc/slurm/slurm.conf ]; then
        echo "/etc/slurm/slurm.conf: there is a Slurm already; it is left alone" >&2
        return 1
    fi
    if [ -L /etc/slurm/slurm.conf ]; then # left by a test that was killed
        stop "$(dirname "$(readlink /etc/slurm/slurm.conf)")" && sleep 2
    fi
    mkdir -p "$folder"/{state,spool,log}
    chmod 700 "$folder"
    touch "$folder/no_gpu"
    head -c 1024 /dev/urandom >"$folder/munge.key"
    chmod 600 "$folder/munge.key"
    cat >"$folder/slurm.conf" <<-END
	ClusterName=one
	SlurmctldHost=$node(127.0.0.1)
	SlurmctldPort=26817
	SlurmdPort=26818
	SlurmUser=$user
	SlurmdUser=$user
	AuthType=auth/munge
	AuthInfo=socket=$folder/munge.socket
	StateSaveLocation=$folder/state
	SlurmdSpoolDir=$folder/spool
	SlurmctldPidFile=$folder/slurmctld.pid
	SlurmdPidFile=$folder/slurmd.pid
	SlurmctldLogFile=$folder/log/slurmctld.log
	SlurmdLogFile=$folder/log/slurmd.log
	ProctrackType=proctrack/linuxproc
	TaskPlugin=task/none
	SelectType=select/cons_tres
	SelectTypeParameters=CR_CPU
	SchedulerParameters=sched_interval=2,bf_interval=2
	GresTypes=gpu
	ReturnToService=2
	MpiDefault=none
	NodeName=$node NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 Gres=gpu:1
	PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
	END
    echo "NodeName=$node Name=gpu File=$folder/no_gpu" >"$folder/gres.conf"
    mkdir -p /etc/slurm
    ln -sf "$folder/slurm.conf" "$folder/gres.conf" /etc/slurm/ # jobs look for them there
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed"
    slurmctld
    slurmd
    for _ in $(seq 100); do
        sinfo -h -o %t 2>/dev/null | grep -q -E 'idle|mix' && echo "Slurm takes jobs on $node" && return
        sleep 0.2
    done
    echo "Slurm did not start; see $folder/log" >&2
    return 1
}

stop() {
    local folder=$1
    scancel --user="$user" 2>/dev/null || true
    for name in slurmd slurmctld munged; do
        if [ -f "$folder/$name.pid" ]; then
            kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
        fi
    done
    for name in slurm.conf gres.conf; do
        if [ "$(readlink "/etc/slurm/$name")" = "$folder/$name" ]; then
            rm "/etc/slurm/$name"
        fi
    done
}

"$action" "$folder"
