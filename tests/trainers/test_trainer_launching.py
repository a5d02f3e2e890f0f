"""How a process finds its place in a run: torchrun's, SLURM's and ModelScope's ways of starting one."""

import pytest
import torch
from torch import distributed as dist

from segpipe import build_trainer, distributed, load_dataset
from segpipe.cli.main import main
from segpipe.distributed import Ranks, check_launcher, device_index, first_host, meeting_point, read_ranks
from segpipe.errors import InputError, SegpipeError

NAMES = ("left", "right", "top")


@pytest.fixture
def srun(monkeypatch):
    """The variables of the third of four processes on two machines."""
    variables = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "123456"}
    variables |= {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "1", "SLURM_STEP_NODELIST": "node[07-08]"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node[01-03,07],x1", "node01"),
        ("x1,node[01-03]", "x1"),
        ("n1", "n1"),
        ("gpu-a[9,12-14].cluster", "gpu-a9.cluster"),
        ("rack[1-2]-node[003-004]", "rack1-node003"),
    ],
)
def test_the_first_of_slurms_hosts_is_found(hosts, first):
    assert first_host(hosts) == first


@pytest.mark.parametrize("hosts", ["", ",a", "]"])
def test_a_list_of_hosts_that_is_none_says_what_to_set(hosts):
    with pytest.raises(InputError, match="Set MASTER_ADDR"):
        first_host(hosts)


def test_processes_of_srun_meet_at_their_first_host_and_at_a_port_of_their_own(srun, monkeypatch):
    assert read_ranks() == Ranks(rank=2, world_size=4, local_rank=0)
    address, port = meeting_point()
    assert address == "node07"
    assert 15000 <= port < 25000
    assert meeting_point() == (address, port)
    monkeypatch.setenv("SLURM_STEP_ID", "2")
    assert meeting_point()[1] != port
    monkeypatch.setenv("SLURM_JOB_ID", "123457")
    assert meeting_point()[1] not in (port, port + 997)


def test_without_a_list_of_hosts_the_launching_one_is_taken(srun, monkeypatch):
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "10.0.0.7")
    assert meeting_point()[0] == "10.0.0.7"


def test_a_batch_script_that_starts_python_itself_is_alone(srun, monkeypatch):
    """It has SLURM_NTASKS and would wait for processes that nobody starts."""
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert read_ranks() == Ranks()
    with pytest.raises(InputError, match=r"SLURM_STEP_NUM_TASKS is not set.*Start it with srun"):
        check_launcher("slurm")


def test_torchruns_variables_come_before_slurms(srun, monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert read_ranks() == Ranks(rank=1, world_size=2, local_rank=1)
    check_launcher("pytorch")


def test_launchers_that_are_not_known_or_did_not_start_the_process_are_refused(recipe, data_root, tmp_path):
    data = load_dataset("folder", data_root, "train", names=NAMES)
    for launcher, message in (
        ("mpi", 'launcher is \'mpi\'; it must be "pytorch", "slurm" or None'),
        ("pytorch", "RANK"),
    ):
        with pytest.raises(InputError, match=message):
            build_trainer(cfg_file=recipe, train_dataset=data, work_dir=tmp_path / "run", launcher=launcher)
    check_launcher(None)


def test_one_visible_gpu_is_taken_whatever_the_local_rank():
    assert device_index(Ranks(rank=1, world_size=2, local_rank=1), visible=1) == 0
    assert device_index(Ranks(rank=5, world_size=8, local_rank=1), visible=4) == 1
    with pytest.raises(InputError, match="process 5 of its machine, which has 4 GPUs"):
        device_index(Ranks(rank=4, world_size=8, local_rank=4), visible=4)


@pytest.mark.parametrize("argument", ["--local-rank", "--local_rank"])
def test_the_argument_of_torchs_old_launcher_is_taken(recipe, data_root, tmp_path, argument, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCAL_RANK", "0")
    command = ["train", "--config", str(recipe), "--data", "folder", str(data_root), "--device", "cpu", "--dry-run"]
    assert main([*command, f"{argument}=0"]) == 0


def test_only_errors_about_other_processes_are_explained(monkeypatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    lost = RuntimeError("[pair.cc] Connection closed by peer [::1]:7\nmore")
    with pytest.raises(SegpipeError, match=r"\(\[pair.cc\] Connection closed by peer \[::1\]:7\)"):
        explain(lost)
    with pytest.raises(RuntimeError, match="mat1 and mat2"), distributed.lost_processes_explained():
        torch.ones(2, 3) @ torch.ones(2, 3)


def explain(error):
    with distributed.lost_processes_explained():
        raise error
