"""Pure functions of tensors: distances, neighbours, metrics. Imports torch and nothing of ours."""
