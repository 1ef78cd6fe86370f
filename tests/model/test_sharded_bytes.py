"""What one of eight ranks holds of a model under ZeRO-1, 2 and 3, beside what the plan counts."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests import forked

RANK_0_OF_8 = """
import json, os, sys
os.environ |= {
    "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "8", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29555",
    "DS_ACCELERATOR": "cpu",
}
import torch
from torch.testing._internal.distributed.fake_pg import FakeStore
torch.distributed.init_process_group("fake", rank=0, world_size=8, store=FakeStore())
import deepspeed
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
deepspeed.init_distributed(dist_backend="fake", dist_init_required=False)
stage = int(sys.argv[1])
network = torch.nn.Sequential(*[torch.nn.Linear(256, 256, bias=False) for _ in range(8)])
numel = sum(one.numel() for one in network.parameters())
engine, *_ = deepspeed.initialize(
    model=network, optimizer=torch.optim.AdamW(network.parameters()), model_parameters=network.parameters(),
    dist_init_required=False, config={
        "train_micro_batch_size_per_gpu": 1, "bf16": {"enabled": True}, "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage, "reduce_bucket_size": 65536, "stage3_param_persistence_threshold": 0},
    },
)
for _ in range(2):
    engine.backward(engine(torch.ones(1, 256, dtype=torch.bfloat16)).float().square().mean())
    engine.step()
size = lambda tensors: sum(one.numel() * one.element_size() for one in tensors)
inner = engine.optimizer
groups = inner.fp32_partitioned_groups_flat if stage == 3 else inner.single_partition_of_fp32_groups
kept = [one for state in inner.optimizer.state.values() for one in state.values()]
states = [one for one in kept if torch.is_tensor(one) and one.ndim]
weights = [one.ds_tensor if stage == 3 else one for one in engine.parameters()]
found = {"weights": size(weights), "optimiser": size([*groups, *states])}
if stage == 3:
    found["gradients"] = size([inner.grad_partitions_flat_buffer])
print(json.dumps({name: value / numel for name, value in found.items()}))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: pip install deepspeed"
)
@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        pytest.param(1, {"weights": 2, "optimiser": 12 / 8}, marks=pytest.mark.soak),
        pytest.param(2, {"weights": 2, "optimiser": 12 / 8}, marks=pytest.mark.soak),
        (3, {"weights": 2 / 8, "optimiser": 12 / 8, "gradients": 2 / 8}),
    ],
)
def test_rank_0_of_8_holds_the_bytes_that_the_plan_counts(
    stage: int, expected: dict[str, float], tmp_path: Path
) -> None:
    """Bytes a parameter in bfloat16, on a process group whose collective calls do nothing."""
    (tmp_path / "script.py").write_text(RANK_0_OF_8)
    ended = forked.to_their_end(tmp_path, [str(stage)], 1)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == pytest.approx(expected, rel=0.02)
