#!/bin/sh
# Trains on a TPU VM or pod slice, from your own machine:
#     TPU=name ZONE=us-west4-a PACKAGE=... sh tpu_vm.sh install      once: the package on every host
#     TPU=name ZONE=us-west4-a sh tpu_vm.sh train        starts the run, or goes on with it
#     TPU=name ZONE=us-west4-a sh tpu_vm.sh stop         saves and stops it
set -eu
: "${TPU:?the name of the TPU}" "${ZONE:?its zone}"
: "${CONFIG:=phnet/iharmony4}"
: "${WORKDIR:=gs://BUCKET/runs/phnet}"
: "${DATA:=gs://BUCKET/data}"

everywhere() {
    gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

case "${1:-}" in
install)
    : "${PACKAGE:?what pip installs, with the extras tpu and gcs: the address of the repository, or of a wheel}"
    everywhere "python3 -m pip install --upgrade '$PACKAGE'"
    ;;
train)
    shift
    # The connection may close: a run that is asked to stop by it saves first.
    everywhere "jaxharm train --config $CONFIG --workdir $WORKDIR --set data.data_dir=$DATA $*"
    ;;
stop)
    everywhere "pkill -TERM -f 'jaxharm train'"
    ;;
*)
    sed -n '2,5s/^# //p' "$0"
    exit 2
    ;;
esac
