"""Learning: triplets, losses, the loop, the head on frozen embeddings."""
