#!/usr/bin/env bash
# Everything that a GPU can tell, in one call of at most 590 seconds, from the project's root:
#
#     OUT=FOLDER [WHEELS=FOLDER] [SHAPE=8b|tiny] tests/benchmarks/gpu_all.sh
#
# It needs Python with torch, transformers and lightning, and the wheels of gpu-wheels.txt in WHEELS (or installed).
# Every step has a limit of its own, its log and its result are in OUT as soon as it ends, and no step stops the next.
set -u
: "${OUT:?set OUT to a folder for logs and results}"
PY=${PY:-python3} SHAPE=${SHAPE:-8b} here=tests/benchmarks began=$SECONDS
mkdir -p "$OUT"
export OUT PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONPATH=$PWD
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    $PY -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl || exit
    PYTHONPATH=$site:$PWD
fi
step() { # SECONDS NAME COMMAND...: what is left of the 590 seconds bounds it too
    local limit=$1 name=$2 left=$((585 - (SECONDS - began))) start=$SECONDS
    shift 2
    [ "$left" -gt 20 ] || { echo "== $name: no time left"; return; }
    [ "$limit" -lt "$left" ] || limit=$left
    timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1
    echo "== $name: status $?, $((SECONDS - start)) s, at $((SECONDS - began)) s"
    tail -n 6 "$OUT/$name.log"
}
step 80 kernels $PY $here/gpu_kernels.py --shape "$SHAPE"
step 60 tests $PY -m pytest -q -p no:cacheprovider -m gpu tests/model/test_attention.py
step 130 train32k $PY $here/gpu_training.py train32k --shape "$SHAPE" --steps 2
step 80 ask42k $PY $here/gpu_evaluation.py ask42k --shape "$SHAPE" --items 2
step 60 smoke $PY -m longsafety scale=smoke trainer="${TRAINER:-gpu}" trainer.precision=bf16-true tracking=none \
    stages=[build,train,evaluate] paths.outputs="$OUT/outputs" paths.cache="$OUT/cache"
step 60 selective $PY $here/gpu_training.py train32k --shape "$SHAPE" --steps 1 --recompute selective
step 160 train128k $PY $here/gpu_training.py train128k --shape "$SHAPE" --steps 1 --tile 8192
rm -rf "$OUT/outputs" "$OUT/cache"
echo "== all in $((SECONDS - began)) s"
