#!/usr/bin/env bash
# The cluster's MLflow server, on the head's loopback address: `mlflow.sh start` replaces the one that runs,
# and one that dies comes back. Records go to a database on the head's disk (or to MLFLOW_BACKEND_STORE_URI,
# as postgresql://...), artifacts through the server to the shared storage.
set -euo pipefail
: "${TUNING_HOME:?}" "${TUNING_STORAGE:?}"
log=$TUNING_HOME/mlflow-server.log
group=$TUNING_HOME/mlflow-server.pid

serve() {
    export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
    while true; do
        mlflow server --host 127.0.0.1 --port 5000 --workers 2 \
            --backend-store-uri "${MLFLOW_BACKEND_STORE_URI:-sqlite:///$TUNING_HOME/mlflow-server.db}" \
            --artifacts-destination "${TUNING_STORAGE%/}/mlflow" || true
        sleep 1
    done
}

case ${1:-} in
start)
    mkdir -p "$TUNING_HOME"
    [ -e "$group" ] && kill -- "-$(cat "$group")" 2>/dev/null || true
    setsid nohup "$0" serve >>"$log" 2>&1 </dev/null &
    echo $! >"$group"
    ;;
serve) serve ;;
*) echo "usage: $0 start" >&2 && exit 2 ;;
esac
