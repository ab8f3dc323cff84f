"""The six methods that Anomalib implements, with backbones of our own."""
