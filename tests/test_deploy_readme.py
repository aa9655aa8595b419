"""What the README beside the deploy files says, from a record made by hand."""

import re
import shlex

import pytest

from qexp.report.deploy_readme import indexing, readme
from tests.test_bodies import BASELINE, TRIAL, made

OLDER, NONE = "for older servers there is `before_1_19/`.", "older ones cannot keep it as it was."
FOUR, EIGHT = ({"quantization.config.turbo.bits": bits} for bits in ("bits4", "bits8"))


@pytest.mark.parametrize(
    ("points", "segments", "hence", "kib", "threshold"),
    [
        (9_999, 1, ["indexing_threshold"], ["10,000", "9,999", "500"], 500),
        (10_000, 1, [], ["10,000"], 10_000),
        (256_000, 1, [], ["10,000"], 10_000),
        (256_001, 1, ["max_segment_size"], ["256,000", "256,001", "10,000"], 10_000),
        (19_998, 2, ["indexing_threshold", "max_segment_size"], ["10,000", "9,999", "9,999", "500"], 500),
        (600_000, 2, ["max_segment_size"], ["300,000", "10,000"], 10_000),
    ],
)
def test_sizes_of_segments_are_told_by_the_kib(points, segments, hence, kib, threshold):
    facts = {"points": points, "size": 256, "full_scan_threshold": 500}
    text = indexing(made({"storage.datatype": "float32", "index.segments": segments}, facts))
    assert re.findall(r"hence `(\w+)`", text) == hence
    assert re.findall(r"([\d,]+) KiB", text) == kib
    assert f'`{{"optimizers_config": {{"indexing_threshold": {threshold}}}}}`' in text
    assert "Each time so many have come, the smallest segment is built anew with them" in text
    assert "payload_index" not in text


@pytest.mark.parametrize(
    ("points", "told"), [(9_999, ""), (10_000, " (2,500 where the `PATCH` was sent)"), (40_000, "")]
)
def test_a_patched_collection_is_indexed_earlier(points, told):
    facts = {"points": points, "size": 256, "full_scan_threshold": 500}
    text = indexing(made({"storage.datatype": "float32", "index.segments": 1}, facts))
    assert f" KiB of vectors{told}, and every search scans those that wait" in text


@pytest.mark.parametrize(
    ("config", "row", "since", "older"),
    [
        ({}, TRIAL, "1.19", OLDER),
        ({"storage.datatype": "turbo4"}, TRIAL, "1.19", NONE),
        ({"storage.datatype": "turbo8"}, BASELINE, "1.20", NONE),
        ({"storage.datatype": "turbo16"}, TRIAL, "1.20", NONE),
        (FOUR, TRIAL, "1.19", f"{OLDER} TurboQuant needs 1.18 or newer."),
        (FOUR, BASELINE, "1.19", OLDER),
        (EIGHT, TRIAL, "1.20", NONE),
        (EIGHT, BASELINE, "1.19", OLDER),
    ],
)
def test_the_readme_says_for_which_servers_it_is(config, row, since, older):
    text = readme(made(config), row, ["because of *it*"], has_old=older != NONE)
    assert text.startswith("# What to deploy\n\n- because of \\*it\\*\n\n")
    assert f"\n\nFor Qdrant {since} or newer; {older}\n\n```bash\ncurl" in text
    assert f"It wants `qdrant-client` {since} or newer, and such a server" in text
    assert "Measured on 20,000 points;" in text


def test_the_commands_of_the_readme_are_whole():
    def commands(row, config, engine=""):
        text = readme(made(config, engine=engine), row, [], has_old=True)
        found = [shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("curl")]
        headers = ["-H", "api-key: $QDRANT_API_KEY", "-H", "Content-Type: application/json", "-d"]
        assert all(words[:2] == ["curl", "-X"] and words[4:-1] == headers for words in found)
        assert text.count('"api-key: $QDRANT_API_KEY"') == len(found)  # for the shell to put the key in
        return [(words[2], words[3].removeprefix("$QDRANT_URL/collections/NAME"), words[-1]) for words in found]

    indexes = {"dataset.payload_indexes.city": "keyword", "dataset.payload_indexes.year": "integer"}
    params = '{"quantization": {"ignore": false, "rescore": false, "oversampling": 1.0}}'
    assert commands(TRIAL, indexes) == [
        ("PUT", "", "@create_collection.json"),
        ("PUT", "/index", "@payload_index_1.json"),
        ("PUT", "/index", "@payload_index_2.json"),
        ("PATCH", "", "@update_collection.json"),
        ("POST", "/points/query", f'{{"query": VECTOR, "limit": 10, "params": {params}}}'),
    ]
    *_, (_, _, sent) = commands(TRIAL, {"dataset.vector": "author's title"})
    assert sent == f'{{"query": VECTOR, "using": "author\'s title", "limit": 10, "params": {params}}}'
    live = {"engine.source_collection": "mine", "engine.url": "http://localhost:6333"}
    for version, place in (("1.18.2", "before_1_19/"), ("1.19.0", "")):
        made_anew = ("PUT", "", f"@{place}create_collection.json")
        assert commands(BASELINE, live, f"server-{version}") == [
            made_anew,
            ("PATCH", "http://localhost:6333/collections/mine", f"@{place}update_collection.json"),
        ]
        assert commands(BASELINE, {}, f"server-{version}") == [
            made_anew,
            ("PATCH", "", f"@{place}update_collection.json"),
        ]


def test_commands_are_for_a_server_as_old_as_the_one_that_was_measured():
    text = readme(made(FOUR, engine="server-1.18.3"), TRIAL, [], has_old=True)
    said = "For servers before 1.19, as the one measured; newer ones take the files beside `before_1_19/`. "
    assert f"\n\n{said}TurboQuant needs 1.18 or newer.\n\n```bash\n" in text


def test_a_quantization_of_all_vectors_that_no_patch_takes_back_is_told():
    def stays(row, **config):
        return 'sends `"quantization": {"ignore": true}` in its `params`' in readme(made(config), row, [], has_old=True)

    named = {"dataset.vector": "title"}
    assert stays(BASELINE, **named)
    assert stays(TRIAL, **named, **{"quantization.config": {}})
    assert not stays(TRIAL, **named)
    assert not stays(BASELINE)  # whose PATCH takes it back
