"""Things with weights: the encoder, how it is run, and the Bundle that keeps it."""
