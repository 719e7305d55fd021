"""The machine, versions and commit that are stored with every number."""

import json
import os
import subprocess
import sys
from math import inf

import pytest

from lotbench import machine


def test_record_is_json_and_names_the_cpu():
    record = machine.record()
    assert json.loads(json.dumps(record)) == record
    assert record["cpu"]
    assert record["cores"] >= 1
    assert isinstance(record["gpus"], list)


def test_cpu_model_reads_cpuinfo(tmp_path):
    text = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: Tiny CPU @ 1: fast\n"
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert machine.cpu_model(path) == "Tiny CPU @ 1: fast"


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
        ("AuthenticAMD", "avx512f", False),
    ],
)
def test_bf16_is_fast_where_it_was_measured_to_be(tmp_path, vendor, flags, fast):
    path = tmp_path / "cpuinfo"
    path.write_text(f"vendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n")
    assert machine.fast_bf16(path) is fast
    assert machine.fast_bf16(tmp_path / "missing") is False


def test_gpus_are_parsed_from_the_driver(monkeypatch):
    monkeypatch.setattr(machine, "_run", lambda *command: "Card A, 80 MiB, 550.1\nCard B, 9, 1\n")
    assert machine.gpus() == [
        {"name": "Card A", "memory": "80 MiB", "driver": "550.1"},
        {"name": "Card B", "memory": "9", "driver": "1"},
    ]


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(machine, "_run", lambda *command: None)
    assert machine.gpus() == []


@pytest.mark.parametrize(
    ("uuid", "users"),
    [
        ("aaaa-1", ["python3, of a friend (process 17)", "render (process 18)"]),
        ("aaaa-2", ["render (process 18)"]),  # this process itself does not count
        ("aaaa-3", []),
    ],
)
def test_other_processes_on_a_gpu_are_named(tmp_path, monkeypatch, uuid, users):
    script = tmp_path / "nvidia-smi"
    script.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --query-compute-apps=gpu_uuid,pid,process_name ] || exit 1\n'
        "echo GPU-aaaa-1, 17, python3, of a friend\n"
        "echo GPU-aaaa-1, 18, render\n"
        "echo GPU-aaaa-2, 18, render\n"
        f"echo GPU-aaaa-2, {os.getpid()}, python3\n"
        "echo No running processes found\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert machine.gpu_users(uuid) == users
    monkeypatch.setenv("PATH", "")
    assert machine.gpu_users(uuid) == []


def test_versions_name_python_and_torch():
    import numpy
    import torch

    versions = machine.versions()
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["torch"] == torch.__version__
    assert versions["numpy"] == numpy.__version__


def test_git_commit_is_the_head_and_marks_local_changes(tmp_path, monkeypatch):
    source = tmp_path / "machine.py"
    source.write_text("one = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    monkeypatch.setattr(machine, "__file__", str(source))
    assert machine.git_commit() == head.stdout.strip()
    source.write_text("one = 2\n")
    assert machine.git_commit() == head.stdout.strip() + "-dirty"


def test_git_commit_of_an_untracked_file_is_none(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    copy = tmp_path / "machine.py"
    copy.write_text("")
    monkeypatch.setattr(machine, "__file__", str(copy))
    assert machine.git_commit() is None


def test_cpu_id_differs_for_processors_with_the_same_name(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(
        "cpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Xeon\nstepping\t: 8\n\nmodel: 9\n"
    )
    assert machine.cpu_id(path) == "6-143-8"
    path.write_text("Hardware\t: a board\n")
    assert machine.cpu_id(path) is None
    assert machine.cpu_id(tmp_path / "missing") is None


def test_a_container_may_grant_less_than_the_machine_has(tmp_path, monkeypatch):
    assert (machine.container_cores(tmp_path), machine.container_bytes(tmp_path)) == (inf, inf)
    # Version 1 of cgroups: 250 of every 100 ms, then without a limit.
    old = tmp_path / "old"
    for name, text in (("cpu.cfs_quota_us", "250000"), ("cpu.cfs_period_us", "100000")):
        (old / "cpu").mkdir(parents=True, exist_ok=True)
        (old / "cpu" / name).write_text(f"{text}\n")
    (old / "memory").mkdir()
    (old / "memory" / "memory.limit_in_bytes").write_text(f"{2**31}\n")
    assert (machine.container_cores(old), machine.container_bytes(old)) == (2.5, 2**31)
    (old / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert machine.container_cores(old) == inf
    # Version 2.
    for cores, memory, wanted in (("max", "max", (inf, inf)), ("50000", "1024", (0.5, 1024))):
        (tmp_path / "cpu.max").write_text(f"{cores} 100000\n")
        (tmp_path / "memory.max").write_text(f"{memory}\n")
        found = machine.container_cores(tmp_path), machine.container_bytes(tmp_path)
        assert found == wanted
    monkeypatch.setattr(machine, "container_cores", lambda: 0.5)
    monkeypatch.setattr(machine, "container_bytes", lambda: 2**29)
    assert (machine.usable_cores(), machine.memory_gib()) == (1, 0.5)
