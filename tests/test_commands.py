"""The one command: its overview and help, and the commands that need no weights."""

import argparse
import dataclasses
import subprocess
import sys

import pytest

import jaxharm
from jaxharm import cli, registry
from jaxharm.__main__ import main
from jaxharm.config_file import load_config, published_configs
from jaxharm.errors import run_command


def test_votes_prints_the_ranking(tmp_path, capsys):
    rows = ["image,method_a,method_b,winner", "1,new,old,new", "2,new,old,new", "3,old,new,tie"]
    (tmp_path / "votes.csv").write_text("\n".join(rows))
    assert main(["votes", str(tmp_path / "votes.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["new", "old"]
    assert main(["votes", str(tmp_path / "none.csv")]) == 2
    assert "none.csv does not exist" in capsys.readouterr().err


def test_models_lists_every_model(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    for name in registry.list_models():
        entry = registry.get(name)
        row = next(line for line in printed.splitlines() if line.startswith(f"{name} "))
        assert f" {entry.parameters / 1e6:.2f} M " in row
        assert f"paper    {entry.paper}" in printed
    assert main(["models", "nonsense"]) == 2
    assert "unknown model 'nonsense'" in capsys.readouterr().err


def test_a_reader_that_goes_early_leaves_no_traceback():
    command = [sys.executable, "-m", "jaxharm", "models"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # as `head` does
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_another_broken_pipe_keeps_its_traceback(capfd):
    def lose_a_worker():
        raise BrokenPipeError("to a worker")

    with capfd.disabled(), pytest.raises(BrokenPipeError, match="to a worker"):
        run_command(lose_a_worker)


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"jaxharm {jaxharm.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_bare_and_help_list_the_commands(arguments, capsys):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    commands = ("train", "eval", "study", "compare", "data", "harmonize", "convert", "models")
    for command in (*commands, "votes", "plot-curves"):
        assert f"\n  {command} " in printed


def test_overview_and_light_commands_stay_quick():
    code = (
        "import sys; from jaxharm.__main__ import main; main([]); "
        "heavy = {'jax', 'flax', 'tyro', 'tensorflow_datasets', 'data_pipelines'}; "
        "print('heavy:', *sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_summaries_are_those_of_the_modules():
    for name, (summary, load) in cli._COMMANDS.items():
        first = load().__doc__.splitlines()[0]
        assert first.split()[0] == summary.split()[0], name


def test_unknown_command_is_one_sentence(capsys):
    assert main(["modles"]) == 2
    errors = capsys.readouterr().err
    assert errors == "error: unknown command 'modles'; known: models, votes\n"


def test_module_runs():
    command = [sys.executable, "-m", "jaxharm"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage: jaxharm COMMAND" in result.stdout


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("build", "--manual-dir"),
        ("verify", "--index"),
        ("export", "--split"),
        ("make-ccharmony", "check"),
        ("make-ffhqh", "--ffhq"),
    ],
)
def test_data_commands_have_a_help_of_their_own(command, says, capsys):
    with pytest.raises(SystemExit) as status:
        main(["data", command, "--help"])
    assert status.value.code == 0
    assert says in capsys.readouterr().out


def test_data_commands_return_their_status(tmp_path, capsys):
    assert main(["data", "verify", "absent", "--data-dir", str(tmp_path)]) == 2
    assert "'absent' is not built" in capsys.readouterr().err


def keys_of(config, prefix=""):
    """Every dotted key of a config."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


@pytest.mark.parametrize("command", ["train", "eval"])
def test_help_lists_every_field_of_the_config(command, capsys):
    name = next(name for name in published_configs() if name.endswith("/minibsds_dual"))
    with pytest.raises(SystemExit) as status:
        main([command, "--help", "--config", name, "--set", "optim.lr=0.125"])
    assert status.value.code == 0
    words = capsys.readouterr().out.split()
    assert set(keys_of(load_config(name))) <= set(words)
    assert "0.125)" in words
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "add --config CONFIG" in capsys.readouterr().out


def test_options_of_the_papers_are_declared_by_their_names():
    """An option without its name in `names` would pass unseen where another model is loaded."""
    parser = argparse.ArgumentParser()
    for entry in registry.entries():
        if entry.flags is not None:
            group = parser.add_argument_group(entry.name)
            flags = entry.flags()
            actions = []
            group._add_action = lambda action, actions=actions: actions.append(action) or action
            flags.add_arguments(group)
            assert {action.dest for action in actions} == set(flags.names)
            assert all(action.default is None for action in actions)
