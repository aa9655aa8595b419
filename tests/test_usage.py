import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from qexp.errors import ConfigError
from qexp.usage import (
    QUIET_WORDS,
    check_choices,
    check_flags,
    check_folder,
    check_secrets,
    config_dir,
    expanded,
    from_anywhere,
    help_text,
)
from tests.conftest import Qexp


def test_overrides_are_split_and_empty_parameters_left_out() -> None:
    words = ["-m", "experiment=", "embedding=128", "storage=", "--overrides", "search.rounds=3 dataset.label='a b'"]
    assert expanded(words) == ["-m", "embedding='128'", "search.rounds=3", "dataset.label=a b"]
    assert expanded(["dataset=wordnet", "--overrides", ""]) == ["dataset=wordnet"]
    assert expanded(["storage="]) == ["storage="]
    assert expanded(["dataset=mine", "--overrides", "a=1 --config-dir=own"]) == [
        "--config-dir=own",
        "dataset=mine",
        "a=1",
    ]
    assert expanded(["embedding=native,128,64", "search.limit=5,10"]) == [
        "embedding=native,'128','64'",
        "search.limit=5,10",
    ]


def test_overrides_that_cannot_be_split_are_one_line(qexp: Qexp) -> None:
    done = qexp("--overrides", "dataset.label='b")
    assert done.returncode == 2
    assert done.stderr == "qexp: --overrides: no closing quotation; quote its words as for a shell\n"


def test_a_parameter_that_the_mlproject_has_not_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^-P rounds=…: MLproject has no such parameter; a field of qexp goes into "):
        expanded(["dataset=wordnet", "--overrides", "", "--rounds", "3"])


KEY = "a-key-that-must-appear-nowhere"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            f"engine.url=http://a:{KEY}@b",
            "engine.url: must not carry a user, password or query; the API key belongs in",
        ),
        (f"++engine.url=http://a?api_key={KEY}", "engine.url: must not carry a user, password or query"),
        (f"engine.url=http://a,http://a:{KEY}@b", "engine.url: must not carry a user, password or query"),
        (f"dataset.path=https://a:{KEY}@b/c.parquet", "dataset.path: must not carry a user or password"),
        (f"dataset.queries.path='s3://a:{KEY}@b/c'", "dataset.queries.path: must not carry a user or password"),
        (f"engine.api_key={KEY}", "engine.api_key: a secret must not be in words, which are recorded"),
        (f"++engine.api_key={KEY}", "engine.api_key: a secret must not be in words, which are recorded"),
        (f"+dataset.token={KEY}", "dataset.token: a secret must not be in words"),
        (f"+hydra.job.env_set.QDRANT_API_KEY={KEY}", "hydra.job.env_set.QDRANT_API_KEY: a secret must not be in words"),
        (f"+hydra.job.env_set={{HF_TOKEN: {KEY}}}", "hydra.job.env_set: a secret must not be in words"),
    ],
)
def test_a_secret_is_refused_before_it_is_written_down_and_not_repeated(word: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_secrets(["dataset=file", word])
    assert str(error.value).startswith(said)
    assert KEY not in str(error.value)


def test_words_that_only_look_like_secrets_are_none() -> None:
    check_secrets(
        [
            "-m",
            "engine.url=http://a:6333,http://b",
            "dataset.url=???",
            "dataset.path=a@b.parquet",
            "+dataset.payload_indexes.token=keyword",
            "search.filter={must: [{key: password, match: {value: a}}]}",
            "hydra.job.env_copy=[QDRANT_API_KEY]",
        ]
    )


def test_quiet_words_stand_where_no_flag_is_between_words() -> None:
    assert expanded(["-m", "a=1", "b=2", "--quiet"]) == ["-m", *QUIET_WORDS, "a=1", "b=2"]
    assert expanded(["a=1", "-m", "--quiet"]) == [*QUIET_WORDS, "a=1", "-m"]
    assert expanded(["--cfg", "job", "--quiet"]) == ["--cfg", "job", *QUIET_WORDS]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--multrun", "a=1,2"], r"^--multrun: no such flag \(did you mean '--multirun'\?\)"),
        (["a=1", "--quite=3"], r"^--quite: no such flag \(did you mean '--quiet'\?\)"),
        (["--foo"], r"^--foo: no such flag"),
        (["--info", "a=1"], r"^--info: invalid choice: 'a=1' \(choose from '?all'?, .*; qexp --hydra-help shows all$"),
        (["a=1", "-c"], r"^--cfg: expected one argument; qexp --hydra-help shows all$"),
        (["a=1", "-m", "b=2"], r"^b=2: no flag may come between words; put all flags first$"),
    ],
)
def test_flags_that_hydra_does_not_take_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_flags(words)


def test_flags_that_hydra_takes_are_left_to_it() -> None:
    for words in (
        ["-m", "a=1", "~b", "+c.d=-1"],
        ["a=1", "b=2", "--cfg=job", "--resolve"],
        ["-cd", "x", "a=1"],
        ["-i"],
    ):
        check_flags(words)


def test_a_path_says_of_which_kind_it_is() -> None:
    with pytest.raises(ConfigError, match=r"^dataset.path=a.npy: of which kind\? Add dataset=file, or dataset=hub"):
        check_choices(["dataset.path=a.npy"])
    for more in ("dataset=file", "experiment=mine", "--config-dir=presets"):
        check_choices([more, "dataset.path=a.npy"])


@pytest.mark.parametrize("word", ["dataset=", 'slo=""', "search=null", "search=[{}]", "~search", "~search=grid"])
def test_a_group_has_a_choice(word: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(word)}: must be one of its choices; qexp --help shows them$"):
        check_choices([word])
    check_choices(["experiment=mine", "~experiment", "dataset.path=", "dataset=${oc.env:DATASET}"])


@pytest.mark.parametrize("word", ["", " ", "=", "=x", "+=x", "~"])
def test_a_word_names_something(word: str) -> None:
    with pytest.raises(ConfigError, match=rf"^'{re.escape(word)}': names nothing; write group=choice"):
        check_choices(["-m", word])


def test_a_store_in_a_folder_of_its_own_is_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["hydra.job.chdir=True"]
    for relative in ("", "sqlite:///mlflow.db", "./mlruns", "mlruns", "file:./mlruns", "file:mlruns"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", relative)
        with pytest.raises(ConfigError, match=r"^hydra.job.chdir=true: every job would have an MLflow store"):
            check_folder(words)
        with pytest.raises(ConfigError):
            check_folder(["++hydra.job.chdir=1"])
        check_folder(["hydra.job.chdir=false"])
    for absolute in (
        "sqlite:////tmp/mlflow.db",
        "http://localhost:5000",
        "/tmp/mlruns",
        "file:/tmp/mlruns",
        "file:///tmp/mlruns",
        "databricks",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", absolute)
        check_folder(words)


@pytest.mark.parametrize(
    "path", ["~/a.npy", "my dir/x (1).npy", "p=1/x.npy", "x[1].npy", "donnéès.npy", 'a "b"\\c\\.npy', "d\\"]
)
@pytest.mark.parametrize("key", ["dataset.path", "dataset.queries.path", "dataset.neighbours_path"])
def test_a_path_is_taken_as_it_is(key: str, path: str) -> None:
    (word,) = expanded([f"{key}={path}"])
    override = OverridesParser.create().parse_override(word)
    assert (override.key_or_group, override.value()) == (key, path)
    assert expanded([word]) == [word]


def test_paths_that_hydra_reads_are_left_to_it() -> None:
    words = ["dataset.path=a.npy,b.npy", "dataset.path='a b'", "dataset.path=null", "dataset.label=~x", "cache_dir=~/x"]
    assert expanded(words) == words


@pytest.mark.parametrize("width", [64, 80, 100])
def test_help_fits_the_terminal_and_loses_no_word(width: int) -> None:
    folded = help_text(width)
    assert max(map(len, folded.splitlines())) <= width
    assert folded.split() == help_text().split()


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["-m", "dataset=mine"], None),
        (["--config-dir=own", "a=1"], "own"),
        (["-m", "--config-dir", "own"], "own"),
        (["-cd", "own", "a=1"], "own"),
    ],
)
def test_the_folder_of_the_users_own_choices_is_known(words: list[str], folder: str | None) -> None:
    assert config_dir(words) == (folder and Path(folder))


def test_choices_of_the_users_own_are_shown(tmp_path: Path) -> None:
    for group, text in (("quantization", "name: scalar_9"), ("experiment", "# @package _global_\n# All of mine.\n")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "scalar_9.yaml").write_text(text)
    lines = [line.split() for line in help_text(own=tmp_path).splitlines()]
    assert [line for line in lines if "scalar_9" in line] == [["scalar_9"], ["scalar_9", "All", "of", "mine."]]


def test_what_describes_a_choice_goes_on_below_its_beginning() -> None:
    lines = help_text(80).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("  hub "))
    assert lines[start : start + 2] == [
        "  hub                     Your own: anything datasets.load_dataset loads",
        "                          (dataset.path=…), with a column of vectors.",
    ]
    start = next(place for place, line in enumerate(lines) if "qexp -m group" in line)
    assert lines[start : start + 2] == [
        "  qexp -m group=choice,choice … [group.field=a,b …]  a sweep over every",
        " " * 53 + "combination",
    ]


def test_what_is_here_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.npy").touch()
    (word,) = expanded(["dataset.path=a b.npy"])
    assert from_anywhere(word) == f'dataset.path="{tmp_path}/a b.npy"'
    assert from_anywhere(from_anywhere(word)) == from_anywhere(word)
    (tmp_path / "encoders.py").touch()
    (tmp_path / "model").mkdir()
    for module in ("encoders", "encoders.py"):
        located = from_anywhere(f"embedding.function={module}:encode")
        assert located == f'embedding.function="{tmp_path}/encoders.py:encode"'
        assert from_anywhere(located) == located
    assert from_anywhere("embedding.model=model") == f'embedding.model="{tmp_path}/model"'
    for other in ("embedding.function=others:encode", "embedding.model=BAAI/bge-small-en-v1.5"):
        assert from_anywhere(other) == other
    for other in ("dataset.path=user/words", "dataset.label=a", "dataset.queries.path=null"):
        assert from_anywhere(other) == other


def test_words_that_are_no_paths_are_read_without_hydra() -> None:
    code = "import sys; from qexp.usage import expanded; expanded(['--help', 'index.m=8'])"
    code += "; assert 'hydra' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
