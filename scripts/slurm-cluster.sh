#!/usr/bin/env bash
# slurm-cluster.sh: a Slurm cluster of two nodes on this machine, for tests: as root, without systemd.
# Usage: scripts/slurm-cluster.sh start|stop DIR        prints what to give as SLURM_CONF
#        scripts/slurm-cluster.sh kill-node|start-node DIR N
#        scripts/slurm-cluster.sh kill-controller|start-controller DIR
# Timeouts are short, so that a dead node is noticed within seconds; credentials expire soon, because Slurm requeues a
# dead node's job only then.
set -euo pipefail
action=$1 dir=$(realpath -m "$2") node=${3:-}
readonly nodes=2
export SLURM_CONF=$dir/slurm.conf

configure() {
  local host port
  host=$(hostname -s)
  port=$((20000 + RANDOM % 10000))
  mkdir -p "$dir"/{state,spool,log}
  chmod 755 "$dir"
  cat > "$SLURM_CONF" <<CONF
ClusterName=shardmill
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool/%n
SlurmctldPidFile=$dir/controller.pid
SlurmdPidFile=$dir/node-%n.pid
SlurmctldLogFile=$dir/log/controller.log
SlurmdLogFile=$dir/log/node-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=0,batch_sched_delay=0
JobRequeue=1
ReturnToService=2
SlurmdTimeout=3
SlurmctldTimeout=10
MessageTimeout=2
KillWait=2
SlurmdParameters=config_overrides
CONF
  for ((i = 1; i <= nodes; i++)); do
    echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + i)) CPUs=2 RealMemory=4000" >> "$SLURM_CONF"
  done
  echo "PartitionName=cpu Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP" >> "$SLURM_CONF"
  echo "CgroupAutomount=no" > "$dir/cgroup.conf"
}

# Every process of a node: slurmd, its stepds, and what they run.
kill_node() {
  local pid
  pid=$(cat "$dir/node-n$1.pid")
  kill -9 "$pid" 2>/dev/null || true
  for stepd in $(pgrep -f "slurmstepd: \[" || true); do
    [[ $(tr '\0' ' ' < "/proc/$stepd/environ" 2>/dev/null) == *"$dir"* ]] || continue
    ls -l "/proc/$stepd/fd" 2>/dev/null | grep -q "spool/n$1" || continue
    pkill -9 -P "$stepd" || true
    kill -9 "$stepd" 2>/dev/null || true
  done
}

wait_idle() {
  for ((i = 0; i < 200; i++)); do
    [[ $(sinfo -h -o '%T %D' 2>/dev/null | awk '$1 == "idle" {print $2}') = "$nodes" ]] && return
    sleep 0.1
  done
  sinfo >&2
  exit 1
}

case $action in
  start)
    configure
    (umask 077; head -c 128 /dev/urandom > "$dir/munge.key")
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
      --log-file="$dir/log/munged.log" --seed-file="$dir/munge.seed" --num-threads=2
    slurmctld -f "$SLURM_CONF" -c
    for ((i = 1; i <= nodes; i++)); do slurmd -f "$SLURM_CONF" -N "n$i"; done
    wait_idle
    echo "$SLURM_CONF" ;;
  kill-node) kill_node "$node" ;;
  start-node) slurmd -f "$SLURM_CONF" -N "n$node" ;;
  kill-controller) kill -9 "$(cat "$dir/controller.pid")" ;;
  start-controller) slurmctld -f "$SLURM_CONF" ;;
  stop)
    scancel --user root 2>/dev/null || true
    for ((i = 1; i <= nodes; i++)); do kill_node "$i"; done
    for name in controller munged; do kill -9 "$(cat "$dir/$name.pid")" 2>/dev/null || true; done ;;
esac
