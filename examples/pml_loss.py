"""Train by a loss of pytorch-metric-learning: any loss(embeddings, labels) without weights of its own will serve.

pip install pytorch-metric-learning
python examples/pml_loss.py [DATA [RUN]]
"""

import sys

from pytorch_metric_learning.losses import MultiSimilarityLoss

import tercet


def main(data: str = "digits", run: str = "runs/multi-similarity") -> None:
    """Train, compare with the baselines and print how good each is on the test images."""
    results = tercet.run(data, out=run, loss=MultiSimilarityLoss())
    for name, figures in results.methods.items():
        print(f"{name}\t{figures['test_accuracy']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
