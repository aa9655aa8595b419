"""The words of a report, for a reader who has nothing else."""

from qexp.report.elements import Grid

GLOSSARY = Grid(
    ("word", "what it means here"),
    (
        ("baseline", "the same collection without quantization, measured again beside every method"),
        ("accuracy retention", "the share of the baseline's results that a search returns too"),
        ("recall", "the share of the exact nearest neighbours that a search returns"),
        ("rescoring, oversampling", "2× fetches twice as many candidates by codes, and ranks them by original vectors"),
        ("ef", "hnsw_ef: how many candidates a search of the graph keeps; more is slower and more accurate"),
        ("storage hot", "original vectors and graph cached in RAM, codes pinned there"),
        ("storage on_disk", "original vectors on disk, codes pinned in RAM, graph cached"),
        ("storage all_disk", "vectors, codes and graph on disk, in RAM as far as the system caches them"),
        ("speedup", "the baseline's latency over the method's in the same round, with its 95 % interval"),
        ("A/A control", "the baseline against itself: how far figures differ where nothing does"),
        (
            "T01 to T20",
            "ways in which benchmarks of quantization mislead, each looked for or ruled out by construction",
        ),
        ("RAM", "what has to be in memory so that no search waits for the disk, rescoring apart"),
    ),
    folded="What the words mean",
)
