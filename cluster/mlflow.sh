#!/usr/bin/env bash
# The cluster's MLflow server, on the head's loopback address: `mlflow.sh start` replaces the one that runs,
# one that dies comes back, `mlflow.sh stop` ends it. Records go to a database on the head's disk (or to MLFLOW_BACKEND_STORE_URI,
# as postgresql://...), artifacts through the server to the shared storage. TUNING_MLFLOW_PORT: another port than 5000.
set -euo pipefail
: "${TUNING_HOME:?}" "${TUNING_STORAGE:?}"
log=$TUNING_HOME/mlflow-server.log
group=$TUNING_HOME/mlflow-server.pid

serve() {
    # In the environment, which others cannot read as they can a command line: it may hold a password.
    export MLFLOW_BACKEND_STORE_URI=${MLFLOW_BACKEND_STORE_URI:-sqlite:///$TUNING_HOME/mlflow-server.db}
    export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
    while true; do
        mlflow server --app-name tuning --host 127.0.0.1 --port "${TUNING_MLFLOW_PORT:-5000}" --workers 2 \
            --artifacts-destination "${TUNING_STORAGE%/}/mlflow" || true
        pkill -KILL -g 0 python || true # workers that have outlived their server hold its port
        sleep 1
    done
}

stop() {
    # Only if that process is still this script's: after a reboot the number may be another's.
    if [ -e "$group" ] && grep -q mlflow.sh "/proc/$(cat "$group")/cmdline" 2>/dev/null; then
        kill -- "-$(cat "$group")" || true
    fi
    rm -f "$group"
}

case ${1:-} in
start)
    mkdir -p "$TUNING_HOME"
    stop
    setsid nohup "$0" serve >>"$log" 2>&1 </dev/null &
    echo $! >"$group"
    ;;
stop) stop ;;
serve) serve ;;
*) echo "usage: $0 start|stop" >&2 && exit 2 ;;
esac
