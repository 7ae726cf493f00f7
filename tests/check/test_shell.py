"""Shell texts: variables, arrays, branches and loops; what is read is what a shell would pass to the program."""

import shlex
import shutil
import subprocess

import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import command
from unnoise.check.read.commands import command_facts, read_commands
from unnoise.check.read.shell.branches import expanded_commands
from unnoise.check.rule import WARN
from unnoise.check.subject import Location, Subject, Training

TRAIN = "accelerate launch train_network.py --pretrained_model_name_or_path m.safetensors"


def trainings(text: str) -> list[Training]:
    return command_facts(text, "x.sh").trainings


def settings(text: str) -> dict[str, object]:
    (training,) = trainings(text)
    return {key: setting.value for key, setting in training.settings.items()}


def words(text: str) -> list[list[str]]:
    return [[word.text for word in found] for found in expanded_commands(text, {})]


# Each writes its last line with `show`, whose arguments bash prints.
WITHOUT_UNKNOWNS = {
    "scalar": 'A="--rank 4 --alpha 2"\nshow $A',
    "scalar in quotes": 'A="a b"\nshow "$A" x',
    "empty": "A=\nshow --one $A --two",
    "array": "A=(--rank 4\n  --name 'a b' # note\n)\nshow \"${A[@]}\"",
    "array of one": 'A=(--on)\nshow "${A[@]}" "$A"',
    "no elements": 'A=()\nshow "${A[@]}" x',
    "append": 'A="--rank 4"\nA+=" --alpha 2"\nshow $A',
    "append to an array": "A=(--rank)\nA+=(4 --alpha 2)\nshow ${A[@]}",
    "nested": 'B=8\nA="--rank $B"\nC="$A --x"\nshow $C ${B}',
    "default": "show --size=${SIZE_X:-512} ${SEED_X-1}",
    "known default": "SIZE_X=64\nshow ${SIZE_X:-512}",
    "test that holds": 'K=sdxl\nif [ "$K" == "sdxl" ]; then\n S=a.py\nelse\n S=b.py\nfi\nshow $S',
    "test that fails": "K=sd\nS=a.py\nif [[ $K == sdxl ]]; then S=b.py; elif [ $K = flux ]; then S=c.py; fi\nshow $S",
    "not": "K=sd\nif [ ! $K == sd ]; then S=a; else S=b; fi\nshow $S",
    "numbers": "N=2\nif [ $N -eq 2 ]; then S=a; fi\nshow $S",
    "unset": 'if [ -z "$NEVER_X" ]; then S=a; fi\nshow $S',
    "joint": 'K=1\n[ $K = 1 ] && A="--on"\n[ $K = 2 ] && A="--off"\nshow $A',
    "or": "K=1\nA=yes\n[ $K = 1 ] || A=no\nshow x$A",
    "case": "K=xl\ncase $K in\n  sd) S=a ;;\n  xl) S=b ;;\n  *) S=c ;;\nesac\nshow $S",
    "case that falls through": 'K=xl\ncase "$K" in sd) S=a;; *) S=c;; esac\nshow $S',
    "function": "f() {\n  local A=1\n  B=2\n}\nA=3\nshow $A",
    "prefix": "A=1\nA=2 true\nshow $A",
    "same in all branches": "if [ -d /nowhere ]; then S=a; else S=a; fi\nshow $S",
    "quotes": 'show \'a b\' "c d" e\\ f --x="g h"',
    "single quotes": "A='$B c'\nshow \"$A\"",
    "continued": "show a \\\n  --b c \\\n  --d",
    "continued behind a joint": "true &&\n  A=1\nshow x",
    "comment": "show a # b\n",
    "words of elements": 'D=2\nA=("--skip $D" "x y")\nshow ${A[@]} "${A[@]}"',
    "empty test": 'E=""\nif [[ $E ]]; then S=a; else S=b; fi\nshow $S',
    "loop over arguments": 'S=a\nfor x in "$@"; do\n  S=${x#*=}\ndone\nshow $S',
    "shifted arguments": 'S=a\nwhile [[ $# -gt 0 ]]; do\n  case $1 in --s) S="$2" ;; esac\n  shift\ndone\nshow $S',
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("name", WITHOUT_UNKNOWNS)
def test_the_words_are_those_of_bash(name: str) -> None:
    text = WITHOUT_UNKNOWNS[name]
    script = f'show() {{ printf "%q " "$@"; }}\n{text}\n'
    printed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    (found,) = [one[1:] for one in words(text) if one[0] == "show"]
    assert found == shlex.split(printed)


UNKNOWN = {
    "branch": "if [ -f x ]; then S=a; fi",
    "either": 'if [ "$1" = a ]; then S=a; else S=b; fi',
    "elif": "S=a\nif [ -f x ]; then\n S=b\nelif [ -f y ]; then\n S=c\nfi",
    "case": "case $1 in a) S=a ;; *) S=b ;; esac",
    "pattern": "K=sdxl\ncase $K in sd*) S=a ;; *) S=b ;; esac",
    "loop": "for S in a b; do true; done",
    "while": "S=a\nwhile read x; do\n S=b\ndone",
    "command": "S=$(ls | head -1)",
    "joint": "S=a\n[ -f x ] && S=b",
    "condition of two": "K=1\nS=a\nif [ $K = 1 ] && [ -f x ]; then S=b; fi",
    "function": "S=a\nf() {\n  S=b\n}",
    "powershell": "$S = 'a'\nif ($x -eq 1) {\n  $S = 'b'\n} else {\n  $S = 'c'\n}",
    "cmd": 'set S=a\nif "%x%"=="1" (\n  set S=b\n) else (\n  set S=c\n)',
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_value_of_some_branches_is_not_known(name: str) -> None:
    assert words(f"{UNKNOWN[name]}\nshow $S")[-1] == ["show", "$S"]


def test_the_inside_of_a_branch_is_known() -> None:
    text = f"if [ -f x ]; then\n  R=4\n  {TRAIN} --network_dim $R\nelse\n  R=8\n  {TRAIN} --network_dim $R\nfi"
    assert [one.settings["network_dim"].value for one in trainings(text)] == [4, 8]


@pytest.mark.parametrize(
    "more",
    ["A+=(--min_snr_gamma 5)", 'A+=("$@")', 'A=("${A[@]}" --sdpa)'],
)
def test_options_that_may_be_added(more: str) -> None:
    text = f'A=(--network_dim 4)\nif [ -f x ]; then\n {more}\nfi\nA+=(--network_alpha 2)\n{TRAIN} "${{A[@]}}"'
    (training,) = trainings(text)
    assert not training.complete
    assert {"network_dim", "network_alpha"} <= training.settings.keys()
    assert training.settings["network_dim"].value == 4
    assert "min_snr_gamma" not in training.settings


@pytest.mark.parametrize(
    ("options", "complete"),
    [
        ("--network_dim 4", True),
        ("--network_dim $DIM", True),
        ('--network_dim "$DIM" --seed 1', True),
        ('"$@"', False),
        ("$EXTRA_ARGS", False),
        ("--sdpa $EXTRA_ARGS", False),
        ("--sdpa ${extra[@]}", False),
        ("--network_dim 4 $more", False),
    ],
)
def test_whether_all_options_are_known(options: str, complete: bool) -> None:
    (training,) = trainings(f"{TRAIN} {options}")
    assert training.complete == complete
    assert training.settings["pretrained_model_name_or_path"].value == "m.safetensors"


@pytest.mark.parametrize(
    "launch",
    [
        "accelerate launch",
        "python -m accelerate.commands.launch --num_cpu_threads_per_process=1",
        "CUDA_VISIBLE_DEVICES=0,1 accelerate launch --multi_gpu --num_processes 2",
        "accelerate-launch",
        "torchrun --nproc_per_node 2",
        "srun --gres=gpu:1 python -u",
        "nohup uv run accelerate launch",
        "if ! accelerate launch",
        "time python3",
        "then python",
    ],
)
def test_launchers(launch: str) -> None:
    found = settings(f"{launch} /opt/train_network.py --network_dim 4")
    assert found["network_dim"] == 4


@pytest.mark.parametrize("run", ["$CMD", 'eval "$CMD"', "eval $CMD", 'bash -c "$CMD"'])
def test_commands_in_variables(run: str) -> None:
    found = settings(f'CMD="accelerate launch --mixed_precision bf16 train_network.py --network_dim 4"\n{run}')
    assert found == {"mixed_precision": "bf16", "network_dim": 4}


@pytest.mark.parametrize("line", ["wget https://x.org/a/train_network.py", "cp train_network.py x/", "cat train_db.py"])
def test_a_script_that_is_not_run(line: str) -> None:
    assert not trainings(line)


def test_a_module_is_a_script() -> None:
    assert settings("python -m examples.dreambooth.train_dreambooth --rank 4") == {"rank": 4}


POWERSHELL = """
$base = "./sd-models/model.safetensors" # path
$dim = 32
$ext_args = [System.Collections.ArrayList]::new()
if ($clip) { [void]$ext_args.Add("--clip_skip=2") }
accelerate launch --num_cpu_threads_per_process=8 "./sd-scripts/train_network.py" `
  --pretrained_model_name_or_path=$base `
  --network_dim=$dim `
  $ext_args
"""


def test_powershell() -> None:
    (training,) = trainings(POWERSHELL)
    assert {key: setting.value for key, setting in training.settings.items()} == {
        "pretrained_model_name_or_path": "./sd-models/model.safetensors",
        "network_dim": 32,
    }
    assert not training.complete


def test_cmd_of_windows() -> None:
    text = (
        'set "BASE=a b.safetensors"\r\nset DIM=8\r\npython train_network.py ^\r\n --network_dim=%DIM% --base "%BASE%"'
    )
    assert settings(text) == {"network_dim": 8, "base": "a b.safetensors"}


def test_backslashes_of_windows() -> None:
    lines = ["$dir = 'D:\\data'", '$out = $dir + "\\" + $name', "$dim = 8", '$all = @("a", `', '  "b")']
    line = 'accelerate launch train_network.py --base="C:\\a b" --network_dim=$dim --seed="2"^\n --end=1'
    (training,) = command_facts("\n".join([*lines, line]), "x.ps1").trainings
    found = {key: setting.value for key, setting in training.settings.items()}
    assert found == {"base": "C:\\a b", "network_dim": 8, "seed": 2, "end": 1}
    assert not command_facts(f"@REM {line}\nrem {line}\n:: {line}", "x.bat").trainings


def shown(subject: Subject, place: Location) -> str:
    assert place.line is not None
    return subject.texts[place.path].split("\n")[place.line - 1][place.column : place.end_column]


def test_places_are_those_of_the_values() -> None:
    text = f'ARGS="--guidance_scale 3.5 --seed 1"\nL=(--network_dim "16")\n{TRAIN} $ARGS "${{L[@]}}" --note=$ARGS'
    subject = read_commands(text, "x.sh")
    (training,) = subject.trainings
    places = {key: shown(subject, setting.place) for key, setting in training.settings.items()}
    assert places["guidance_scale"] == "3.5"
    assert places["network_dim"] == '"16"'
    assert places["note"] == '"--guidance_scale 3.5 --seed 1"'


def test_places_of_what_is_split() -> None:
    text = f'N=4\nL=("--guidance_scale 3.5" "--network_dim $N")\n{TRAIN} ${{L[@]}}'
    subject = read_commands(text, "x.sh")
    (training,) = subject.trainings
    assert shown(subject, training.settings["guidance_scale"].place) == "3.5"
    assert training.settings["network_dim"].value == 4
    assert training.settings["network_dim"].place == Location("x.sh", line=2)
    command_line = f"CMD='{TRAIN} --seed 1'\neval \"$CMD\""
    (training,) = (subject := read_commands(command_line, "x.sh")).trainings
    assert shown(subject, training.settings["seed"].place) == "1"


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ('A="--guidance_scale 3.5"\n{} $A', True),
        ('A="--guidance_scale 3.5"\n{} $A\npython other.py $A', False),
        ('A=(\n  --seed 1\n  --guidance_scale 3.5)\n{} "${{A[@]}}"', True),
        ('A=(\n  --seed 1\n  --guidance_scale 3.5)\n{} "${{A[@]}}"\npython other.py ${{A[0]}}', False),
        ("G=3.5\n{} --guidance_scale $G", True),
        ("G=3.5\n{} --guidance_scale $G --note $G", False),
    ],
)
def test_a_value_with_two_readers_is_not_fixed(text: str, fixed: bool) -> None:
    line = "accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors"
    (one,) = judge(command(text.format(line)))
    assert one.rule.id == "UN503"
    assert one.fix is not None
    assert (one.fix.kind == "safe") == fixed


def test_a_file_of_options_makes_the_others_unknown() -> None:
    (training,) = trainings("accelerate launch sdxl_train.py --config_file=a.toml --zero_terminal_snr")
    assert not training.complete


def test_options_in_a_variable_are_checked() -> None:
    text = """
    ARGS="--guidance_scale 3.5 --timestep_sampling flux_shift"
    accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors $ARGS
    """
    (one,) = [one for one in judge(command(text)) if one.grade >= WARN]
    assert (one.rule.id, one.place.line, one.place.column) == ("UN503", 1, 23)


BRANCHES = """
model_type="sd1.5"
trainer="./scripts/train_network.py"
if [ $model_type == "sdxl" ]; then
  trainer="./scripts/sdxl_train_network.py"
elif [ $model_type == "flux" ]; then
  trainer="./scripts/flux_train_network.py"
fi
python -m accelerate.commands.launch $trainer --pretrained_model_name_or_path=model.safetensors --network_dim=32
"""


def test_an_assignment_in_a_branch_is_not_unconditional() -> None:
    subject = command(BRANCHES)
    (training,) = subject.trainings
    assert training.script == "train_network.py"
    assert not [one for one in judge(subject) if one.grade >= WARN]


def test_missing_options_prove_nothing_where_some_are_unknown() -> None:
    line = "accelerate launch flux_train_network.py --pretrained_model_name_or_path flux1-dev.safetensors"
    assert [one.rule.id for one in judge(command(f"{line} --sdpa"))] == ["UN503"]
    assert not judge(command(f'{line} --sdpa "$@"'))
