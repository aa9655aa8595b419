"""What the steps of an experiment put together."""

from dataclasses import replace

from qexp.config import CostConfig, ExperimentConfig
from qexp.runner import measure_experiment


def test_the_ram_that_is_predicted_is_the_ram_that_is_priced(small: ExperimentConfig) -> None:
    experiment = measure_experiment(replace(small, cost=CostConfig("mine", payload_bytes=1000, payload_in_ram=True)))
    for collection, bill in (
        (experiment.quantized, experiment.cost.predicted),
        (experiment.baseline_collection, experiment.cost.baseline),
    ):
        assert collection.ram.ram == bill.ram_bytes > 1000 * 4500
        there = {part.name: part for part in collection.comparisons}["payload"]
        assert (there.predicted, there.need) == (0, "disk")  # it has none
