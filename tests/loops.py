"""Losses and minings as their definitions read, term by term; autograd differentiates what is written."""

import torch


def every_triplet(labels):
    """All (anchor, positive, negative) of a batch."""
    places = range(len(labels))
    return [
        (anchor, positive, negative)
        for anchor in places
        for positive in places
        for negative in places
        if anchor != positive and labels[anchor] == labels[positive] != labels[negative]
    ]


def hard(points, labels):
    """The farthest positive and the nearest negative of each anchor that has both."""
    chosen, far = {}, squared(points)
    for a, p, n in every_triplet(labels):
        best_p, best_n = chosen.get(a, (p, n))
        chosen[a] = (p if far[a][p] > far[a][best_p] else best_p, n if far[a][n] < far[a][best_n] else best_n)
    return [(anchor, *pair) for anchor, pair in chosen.items()]


def semi_hard(points, labels):
    """The nearest negative of each anchor and positive that is farther than the positive."""
    chosen, far = {}, squared(points)
    for a, p, n in every_triplet(labels):
        if far[a][n] > far[a][p] and ((a, p) not in chosen or far[a][n] < far[a][chosen[a, p]]):
            chosen[a, p] = n
    return [(*pair, negative) for pair, negative in chosen.items()]


def squared(points):
    """Squared distances as nested lists, each summed up by itself."""
    rows = points.tolist()
    return [[sum((x - y) ** 2 for x, y in zip(one, other, strict=True)) for other in rows] for one in rows]


def naive_triplet_loss(points, triplets, margin, reduction):
    """The formula, term by term, so that autograd differentiates what is written here."""
    hinges = [
        ((points[a] - points[p]).square().sum() - (points[a] - points[n]).square().sum() + margin).clamp_min(0)
        for a, p, n in triplets
    ]
    active = sum(bool(hinge > 0) for hinge in hinges)
    total = sum(hinges, start=points.sum() * 0)
    return total / {"sum": 1, "mean": max(1, len(hinges)), "active": max(1, active)}[reduction]


def naive_supcon(points, labels, temperature):
    terms = []
    for anchor in range(len(labels)):
        others = [other for other in range(len(labels)) if other != anchor]
        cosines = {other: torch.cosine_similarity(points[anchor], points[other], dim=0) for other in others}
        positives = [other for other in others if labels[other] == labels[anchor]]
        if positives:
            below = sum((cosines[other] / temperature).exp() for other in others)
            terms.append(-sum(((cosines[p] / temperature).exp() / below).log() for p in positives) / len(positives))
    return sum(terms, start=points.sum() * 0) / max(1, len(terms))


def naive_proxy(points, labels, proxies, temperature, margin, smoothing):
    """Every class stands as the positive in turn, as smoothing weighs them; the margin is the label's."""
    terms = []
    for point, label in zip(points, labels.tolist(), strict=True):
        distances = [(point - proxy).square().sum() + margin * (c == label) for c, proxy in enumerate(proxies)]
        for c, near in enumerate(distances):
            gaps = [near - far for other, far in enumerate(distances) if other != c]
            share = smoothing / len(proxies) + (1 - smoothing) * (c == label)
            terms.append(share * (1 + sum((gap / temperature).exp() for gap in gaps)).log())
    return sum(terms) / len(labels)


def naive_centroid(points, labels, temperature, margin):
    terms = []
    for anchor, label in enumerate(labels):
        members = {other: [row for row in range(len(labels)) if labels[row] == other] for other in labels.unique()}
        means = {int(other): points[rows].mean(0) for other, rows in members.items() if other != label}
        others = [row for row in range(len(labels)) if labels[row] == label and row != anchor]
        if others:
            near = (points[anchor] - points[others].mean(0)).square().sum()
            gaps = [near - (points[anchor] - mean).square().sum() + margin for mean in means.values()]
            terms.append((points.sum() * 0 + 1 + sum((gap / temperature).exp() for gap in gaps)).log())
    return sum(terms, start=points.sum() * 0) / max(1, len(terms))
