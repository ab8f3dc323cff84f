"""The anomaly detection evaluation toolkit: what pre-trained weights are worth in eight methods."""
