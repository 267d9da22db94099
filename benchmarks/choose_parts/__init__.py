"""What `benchmarks/choose.py` is made of: planted defects, the settings that are compared, a run, the tables."""
