"""The inputs of examples/lammps run, and those of published potentials give what the published input files give."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mliuq.lammps
import pytest
from runner import assert_equal, mpirun, potentials_folder, run, state_after

LIBRARIES = ("mliuqplugin.so", "mliuqstyles.so")
EXAMPLES = Path(__file__).parents[2] / "examples" / "lammps"

#: The input file that comes with each published potential; W-He of `published_WHe.in` needs no file of its own.
PUBLISHED = {
    "published_Ta": "Ta06A",
    "published_W_zbl": "W_2940_2017_2",
    "published_WBe": "WBe_Wood_PRB2019",
    "published_InP": "InP_JCPA2020",
    "published_WHe": "W_2940_2017_2_He_JW2013",
    "published_Zuo": "Mo_Zuo_JPCA2020",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    spec = importlib.util.spec_from_file_location("published_models", EXAMPLES / "published_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder)
    for table in potentials_folder().glob("*He_JW2013.table"):
        shutil.copy(table, folder)
    return folder


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.in")))
def test_example_runs(name: str, models: Path, make_model: Callable[..., Path]) -> None:
    model = make_model("W_2940_2017_2", 20)
    variables = f"variable steps index 4\nvariable model index {model}\nvariable size index 2\n"
    output = run(variables + (EXAMPLES / f"{name}.in").read_text(), models)
    assert output.returncode == 0, output.text
    assert "nan" not in output.text.lower()


def test_job_script(models: Path, make_model: Callable[..., Path]) -> None:
    """As a batch system would start it: ranks by mpiexec, threads by the environment, the log where it says."""
    text = f"variable steps index 2\nvariable size index 2\nvariable model index {make_model('W_2940_2017_2', 20)}\n"
    (models / "job.in").write_text(text + (EXAMPLES / "nvt_guard.in").read_text())
    programs = f"{Path(sys.executable).parent}:{mpirun().parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": programs, "SLURM_NTASKS": "2", "SLURM_CPUS_PER_TASK": "1"}
    done = subprocess.run(
        ["bash", str(EXAMPLES / "job.sh"), "job.in"],
        cwd=models,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 MPI tasks x 1 OpenMP threads" in (models / "job.log").read_text()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_input_gives_the_same(name: str, models: Path, tmp_path: Path) -> None:
    text = (EXAMPLES / f"{name}.in").read_text().split("velocity")[0]
    text = "".join(f"{line}\n" for line in text.splitlines() if not re.match(r"minimize|(un)?fix", line))
    text += "displace_atoms all random 0.05 0.05 0.05 4242\n"
    shell = f"shell cd {potentials_folder()}\ninclude {PUBLISHED[name]}.snap\nshell cd {tmp_path}\n"
    stock, n_replaced = re.subn(r"pair_style.*(?:\npair_coeff.*)+\n", shell, text)
    assert n_replaced == 1
    expected = state_after(stock, tmp_path)
    assert_equal(state_after(text, models), expected)


@pytest.mark.parametrize("form", ["", ".quadratic"])
@pytest.mark.parametrize("element", ["Cu fcc 3.62", "Ni fcc 3.52", "Li bcc 3.43", "Si diamond 5.47", "Ge diamond 5.76"])
def test_elements_of_zuo(element: str, form: str, models: Path) -> None:
    symbol, crystal, a = element.split()
    variables = f"variable element index {symbol}\nvariable crystal index {crystal}\nvariable a index {a}\n"
    variables += f"variable form index {form}\n" if form else ""
    text = variables + "variable steps index 2\nvariable size index 2\n" + (EXAMPLES / "published_Zuo.in").read_text()
    output = run(text + 'print "LATTICE $(lx/2)"\n', models)
    assert output.returncode == 0, output.text
    (lattice,) = re.findall(r"^LATTICE (\S+)", output.text, flags=re.MULTILINE)
    assert float(lattice) == pytest.approx(float(a), rel=0.03)


def test_help_of_the_published_models_writes_nothing(tmp_path: Path) -> None:
    script = EXAMPLES / "published_models.py"
    done = subprocess.run([sys.executable, str(script), "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "usage" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_plugin_does_not_name_the_machine_that_built_it() -> None:
    content = b"".join((mliuq.lammps.plugin_file().resolve().parent / name).read_bytes() for name in LIBRARIES)
    assert b"pair_mliuq.cpp" in content, "errors name the file of the source"
    assert os.fsencode(EXAMPLES.parents[1]) not in content
