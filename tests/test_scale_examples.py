"""The files of `examples/scale`: what their programs document, and commands that parse."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from flames.cli import build_app

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "scale"
SBATCH = (FOLDER / "score.sbatch").read_text("utf-8")

# Fields as KubeRay's and Kubernetes' references document them.
JOB = {"entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
       "rayClusterSpec"}  # fmt: skip
CLUSTER = {"rayVersion", "authOptions", "enableInTreeAutoscaling", "headGroupSpec",
           "workerGroupSpecs"}  # fmt: skip
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
CONTAINER = {"name", "image", "env", "resources", "volumeMounts"}
SLURM = {"job-name", "nodes", "ntasks-per-node", "cpus-per-task", "gpus-per-node", "mem", "time",
         "output"}  # fmt: skip


def parsed(command: str) -> dict[str, Any]:
    """Parses a `flames …` line with the real command line, and returns what it understood."""
    words = shlex.split(re.sub(r'"\$@"', "", command))[1:]
    group: Any = typer.main.get_command(build_app())
    _, found, rest = group.resolve_command(group.make_context("flames", list(words)), list(words))
    values: dict[str, Any] = found.make_context("score", rest).params
    return values


def test_the_ray_job_has_documented_fields_and_a_command_that_parses() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == JOB
    cluster = job["spec"]["rayClusterSpec"]
    assert set(cluster) == CLUSTER
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        assert set(group) <= GROUP
        pod = group["template"]["spec"]
        [container] = pod["containers"]
        assert set(container) == CONTAINER
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]
        assert {each["name"] for each in container["volumeMounts"]} == {
            each["name"] for each in pod["volumes"]
        }
    told = parsed(job["spec"]["entrypoint"])
    assert (told["engine"], told["address"]) == ("ray", "auto")
    limits = groups[1]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert told["worker_cpus"] == int(limits["cpu"])
    assert told["workers"] * told["worker_cpus"] == groups[1]["maxReplicas"] * int(limits["cpu"])
    assert f"ray[default]=={cluster['rayVersion']}" in (FOLDER / "Dockerfile").read_text("utf-8")
    pins = (FOLDER.parents[1] / "constraints.txt").read_text("utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins


def test_the_slurm_script_is_bash_and_names_known_options() -> None:
    assert subprocess.run(["bash", "-n", FOLDER / "score.sbatch"]).returncode == 0
    assert set(re.findall(r"^#SBATCH --([a-z-]+)=", SBATCH, re.MULTILINE)) == SLURM
    command = SBATCH.replace("\\\n", " ").partition(" -- ")[2]
    told = parsed(command.replace('"$input"', "in.jsonl").replace('"$out"', "out.jsonl"))
    assert (told["engine"], told["worker_gpus"]) == ("ray", 1.0)


def test_ray_knows_the_options_of_the_slurm_script() -> None:
    scripts = pytest.importorskip("ray.scripts.scripts", reason="needs the extra scale")
    from ray.scripts.symmetric_run import symmetric_run

    line = SBATCH.replace("\\\n", " ").partition("ray symmetric-run")[2].partition(" -- ")[0]
    known = {
        flag for each in (scripts.start, symmetric_run) for p in each.params for flag in p.opts
    }
    assert set(re.findall(r"--[a-z-]+", line)) <= known
