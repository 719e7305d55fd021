"""LoTBench: benchmarks and ablations for token reduction in transformer encoders."""
