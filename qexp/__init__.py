"""qexp: which quantization, oversampling and rescoring to deploy on Qdrant, measured on your data."""

__version__ = "0.1.0"
