"""Packages of the project: what is built and installed has every file, and works where no checkout is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.state.older_files import older_file

ROOT = Path(__file__).parent.parent
INCIDENT = ROOT / "fixtures" / "incident" / "snapshot.json.gz"


class Built(NamedTuple):
    """Both packages, and an environment in which the wheel is installed."""

    sdist: Path
    wheel: Path
    environment: Path


def files_of_project() -> list[str]:
    """Files of the checkout by their path in it, without what was made there."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if (not name.startswith(".") or name == ".ci")
            and name not in ("__pycache__", "build", "dist")
            and not name.endswith(".egg-info")
        ]
        found += [str((Path(folder) / name).relative_to(ROOT)) for name in names if not name.startswith(".")]
    return sorted(found)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both, built from a copy: the wheel out of the sdist, as an index would get them."""
    folder = tmp_path_factory.mktemp("packages")
    source, made, environment = folder / "source", folder / "dist", folder / "environment"
    for name in files_of_project():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(made), str(source)]
    built = subprocess.run(build, capture_output=True, text=True, check=False, timeout=240)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (sdist,), (wheel,) = made.glob("*.tar.gz"), made.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    install = [sys.executable, "-m", "pip", "--quiet", "--python", str(environment / "bin" / "python")]
    subprocess.run([*install, "install", "--no-deps", "--no-index", wheel], check=True, timeout=120)
    # Its dependencies are those of this environment; a path file brings the packages and not the checkout.
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Built(sdist, wheel, environment)


def installed(built: Built, *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder of its own, which is also the home."""
    return subprocess.run(
        [built.environment / "bin" / "wgaudit", *words],
        cwd=folder,
        env={"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_sdist_has_what_is_needed_to_build_and_to_read(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [
        name
        for name in files_of_project()
        if name.startswith(("auditor/", "alerts/", "docs/", "deploy/"))
        or name in ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "requirements.txt")
    ]
    assert [name for name in wanted if name not in names] == []


def test_the_wheel_has_every_file_of_both_packages(built: Built) -> None:
    """Scripts that run on nodes, templates and documents too: a package without one breaks only when it is used."""
    names = set(zipfile.ZipFile(built.wheel).namelist())
    wanted = [name for name in files_of_project() if name.startswith(("auditor/", "alerts/"))]
    assert [name for name in wanted if name not in names] == []
    assert [
        name for name in names if name.split("/")[0] not in ("auditor", "alerts") and ".d" not in name
    ] == []


def test_the_installed_command_is_the_wheels_and_no_checkouts(built: Built, tmp_path: Path) -> None:
    where = "import auditor, alerts; print(auditor.__file__, alerts.__file__)"
    python = built.environment / "bin" / "python"
    done = subprocess.run(
        [python, "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert all(path.startswith(str(built.environment)) for path in done.stdout.split())


def test_the_installed_command_judges_renders_and_explains(built: Built, tmp_path: Path) -> None:
    """With the probe, the vendors' templates, and each form of the report."""
    assert installed(built, "--version", folder=tmp_path).stdout.startswith("wgaudit ")
    sweep = installed(built, "sweep", "--replay", INCIDENT, folder=tmp_path)
    assert (sweep.returncode, sweep.stdout.split()[0]) == (1, "FINDINGS"), sweep.stderr
    probe = installed(built, "probe-script", folder=tmp_path)
    assert probe.stdout.startswith("#!/bin/sh"), probe.stderr


def test_the_installed_command_brings_a_state_of_an_older_version_up_to_date(
    built: Built, tmp_path: Path
) -> None:
    """By the revisions in the wheel."""
    older_file(tmp_path / ".local" / "state" / "wgaudit" / "wgaudit.db", 3, 2)
    done = installed(built, "history", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SWEEPS" in done.stdout


def test_the_containerfile_copies_all_that_the_installation_needs(built: Built, tmp_path: Path) -> None:
    """The wheel out of what it copies is the wheel out of everything."""
    lines = (ROOT / "deploy" / "Containerfile").read_text().splitlines()
    source = tmp_path / "image"
    for words in (line.split()[1:] for line in lines if line.startswith("COPY ")):
        for name in words[:-1]:
            there = source / words[-1] if (ROOT / name).is_dir() else source / words[-1] / name
            there.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, there)
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        source,
    ]
    subprocess.run(wheel, check=True, timeout=120)
    (made,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(made).namelist()) == set(zipfile.ZipFile(built.wheel).namelist())


def test_the_installed_command_explains_checks_reasons_and_the_runbook(built: Built, tmp_path: Path) -> None:
    """From files in the wheel: where it is installed there is no docs/."""
    done = installed(built, "explain", "split-routing", "consul-timeout", "runbook", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "docs/findings.md#split-routing" in done.stdout
    with zipfile.ZipFile(built.wheel) as archive:
        for name in ("findings", "gaps", "runbook"):
            assert archive.read(f"auditor/documents/{name}.md") == (ROOT / "docs" / f"{name}.md").read_bytes()
