
# The scheduler warns before it ends a job (USR1, TERM): the task stops between two blocks and leaves no trace.
@COMMAND@ &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM USR1
wait "$child"
status=$?
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  status=$?
done
[ "$status" -eq 0 ] && exit 0
if [ "${SLURM_RESTART_COUNT:-0}" -lt @RETRIES@ ]; then
  echo "exit $status: requeue ${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}" && sleep 300
fi
exit "$status"
