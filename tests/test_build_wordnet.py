import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import datasets
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
WORDNET = ROOT / "bundled" / "wordnet"

HEADER = "  1 This software and database is being provided to you, the LICENSEE, by  "
NOUN = (
    "00003553 03 n 02 whole 0 unit 0 003 @ 00002684 n 0000 + 01462023 v 0204 ~ 00003993 n 0000 | an assemblage of "
    'parts that is regarded as a single entity; "how big is that part compared to the whole?"; "the team is a unit"  '
)
VERB = (
    "00001740 29 v 04 breathe 0 take_a_breath 0 respire 0 suspire 3 001 * 00005041 v 0000 02 + 02 00 + 08 00 | "
    'draw air into, and expel out of, the lungs; "I can breathe better when the air is clean"  '
)
SATELLITE = (
    "00014358 00 s 02 abounding 0 galore(ip) 0 001 & 00013887 a 0000 | existing in abundance; "
    '"abounding confidence"; "whiskey galore"  '
)
ADJECTIVE = "00020103 00 s 02 outback(a) 0 remote 0 001 & 00019874 a 0000 | inaccessible and sparsely populated;  "
ADVERB = '00003846 02 r 01 boiling 0 001 ;u 07075172 n 0000 | extremely; "boiling mad"  '
ELEVEN_WORDS = (
    "00017222 03 n 0b plant 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 flora a 001 @ 00004475 n 0000 | (botany) a living "
    "organism lacking the power of locomotion  "
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_wordnet", ROOT / "scripts" / "build_wordnet.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_noun_with_two_examples(script: ModuleType) -> None:
    synset = script.parse_line(NOUN)
    assert synset == script.Synset(
        id=100003553,
        pos="n",
        lemmas=["whole", "unit"],
        definition="an assemblage of parts that is regarded as a single entity",
        examples=["how big is that part compared to the whole?", "the team is a unit"],
    )
    assert synset.text == "whole, unit: an assemblage of parts that is regarded as a single entity"


def test_verb_with_frames_and_underscores(script: ModuleType) -> None:
    synset = script.parse_line(VERB)
    assert synset.id == 200001740
    assert synset.text == ("breathe, take a breath, respire, suspire: draw air into, and expel out of, the lungs")
    assert synset.examples == ["I can breathe better when the air is clean"]


def test_adjective_markers_are_stripped(script: ModuleType) -> None:
    galore, outback = script.parse_line(SATELLITE), script.parse_line(ADJECTIVE)
    assert (galore.id, galore.pos, galore.lemmas) == (300014358, "s", ["abounding", "galore"])
    assert outback.text == "outback, remote: inaccessible and sparsely populated"
    assert outback.examples == []


def test_adverb(script: ModuleType) -> None:
    assert script.parse_line(ADVERB) == script.Synset(400003846, "r", ["boiling"], "extremely", ["boiling mad"])


def test_word_count_is_hexadecimal(script: ModuleType) -> None:
    synset = script.parse_line(ELEVEN_WORDS)
    assert synset.lemmas == ["plant", *"bcdefghij", "flora"]
    assert synset.definition == "(botany) a living organism lacking the power of locomotion"


def test_header_is_no_synset(script: ModuleType) -> None:
    assert script.parse_line(HEADER) is None


@pytest.mark.parametrize(
    ("gloss", "parts"),
    [
        ("one; two", ("one; two", [])),
        ("not any other:;", ("not any other", [])),
        ('set apart; "a group apart"- Vannever Bush', ("set apart", ["a group apart"])),
        ('a ;  b ; " c  d "', ("a ; b", ["c d"])),
        ('of Vietnam; "the countryside"; the tones"', None),
        ('a demand especially in the phrase "the call of duty"', None),
    ],
)
def test_split_gloss(script: ModuleType, gloss: str, parts: tuple[str, list[str]] | None) -> None:
    assert script.split_gloss(gloss) == parts


def test_queries_are_long_unique_and_absent_from_the_corpus(script: ModuleType) -> None:
    def synset(number: int, definition: str, *examples: str) -> object:
        return script.Synset(number, "n", [f"w{number}"], definition, list(examples))

    corpus = [
        synset(1, "a", "too short", "this one is fine", "this is fine too"),
        synset(2, "b", "used in two glosses"),
        synset(3, "c", "Part of another definition"),
        synset(4, "it is part of another definition"),
    ]
    elsewhere = synset(5, "d", "Used in two glosses")
    assert script.choose_queries(corpus, [*corpus, elsewhere], 1) == [("this one is fine", 1)]
    with pytest.raises(SystemExit, match="only 1 entries"):
        script.choose_queries(corpus, [*corpus, elsewhere], 2)


def test_sample_does_not_depend_on_the_order_of_entries(script: ModuleType) -> None:
    synsets = [script.Synset(number, "n", ["w"], "d", []) for number in range(100)]
    shuffled = script.hash_order(synsets, "corpus")
    assert shuffled != synsets
    assert shuffled == script.hash_order(synsets[::-1], "corpus")
    assert shuffled != script.hash_order(synsets, "queries")


def test_ndcg(script: ModuleType) -> None:
    corpus = np.array([[1, 0], [0.5, 0], [0, 1]], np.float16)
    queries = np.array([[1, 0], [1, 0], [0, 1]], np.float16)
    expected = (1 + 1 / np.log2(3) + 1) / 3
    assert script.ndcg_at_10(corpus, queries, np.array([0, 1, 2])) == pytest.approx(expected)
    tied = np.zeros((11, 2), np.float16)
    assert script.ndcg_at_10(tied, queries, np.array([0, 1, 2])) == 0


Tables = dict[str, datasets.Dataset]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    cache = str(tmp_path_factory.mktemp("datasets"))
    names = ("corpus", "queries", "qrels")
    return {name: datasets.load_dataset(str(WORDNET), name, split="train", cache_dir=cache) for name in names}


def column(table: datasets.Dataset, name: str) -> np.ndarray:
    return np.asarray(table.with_format("numpy")[name][:])


def test_counts_and_types(tables: Tables) -> None:
    assert {name: len(table) for name, table in tables.items()} == {"corpus": 20_000, "queries": 1_200, "qrels": 1_200}
    vector = datasets.List(datasets.Value("float16"), length=384)
    assert tables["corpus"].features == {
        "id": datasets.Value("int64"),
        "text": datasets.Value("string"),
        "lemmas": datasets.List(datasets.Value("string")),
        "pos": datasets.Value("string"),
        "vector": vector,
    }
    assert tables["queries"].features["vector"] == vector


def test_ids_and_texts_are_unique(tables: Tables) -> None:
    for name in ("corpus", "queries"):
        for field in ("id", "text"):
            assert len(set(tables[name][field])) == len(tables[name])
    ids = column(tables["corpus"], "id")
    assert (np.diff(ids) > 0).all()
    assert column(tables["queries"], "id").tolist() == list(range(1_200))


def test_each_query_has_one_entry_of_the_corpus(tables: Tables) -> None:
    assert column(tables["qrels"], "query").tolist() == list(range(1_200))
    points = tables["qrels"]["point"]
    assert len(set(points)) == 1_200
    assert set(points) <= set(tables["corpus"]["id"])
    assert set(tables["qrels"]["grade"]) == {1}


def test_queries_are_held_out(tables: Tables) -> None:
    corpus = "\n".join(tables["corpus"]["text"]).casefold()
    assert [text for text in tables["queries"]["text"] if text.casefold() in corpus] == []
    assert '"' not in corpus


@pytest.mark.parametrize("name", ["corpus", "queries"])
def test_vectors_have_length_one(tables: Tables, name: str) -> None:
    vectors = column(tables[name], "vector").astype(np.float32)
    assert vectors.shape == (len(tables[name]), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_card_states_the_quality_that_is_measured(script: ModuleType, tables: Tables) -> None:
    corpus, queries = (column(tables[name], "vector").astype(np.float16) for name in ("corpus", "queries"))
    relevant = np.searchsorted(column(tables["corpus"], "id"), column(tables["qrels"], "point"))
    stated = re.search(r"nDCG@10 of exact .*?\*\*(0\.\d{4})\*\*", (WORDNET / "README.md").read_text(), re.DOTALL)
    assert stated
    assert script.ndcg_at_10(corpus, queries, relevant) == pytest.approx(float(stated[1]), abs=1e-3)


def test_folder_is_small() -> None:
    assert sum(path.stat().st_size for path in WORDNET.rglob("*") if path.is_file()) <= 20_000_000
