"""From samples to medians and ratios. Pure."""
from __future__ import annotations

from statistics import median

from tests.bench.lines import RATIOS

# What the playbook has the engine do besides staging and validating, which tell their own seconds.
_ENGINE_REST = ("assess", "swap", "finish")


def complete(sample):
    """Return one round's figures of one size with what follows from them.

    Ansible's share is the playbook's time without the seconds its modules report for staging and validating, and without what the same
    steps took when the engine did them alone in the same round.
    """
    if "playbook" not in sample:
        return sample
    engine = sample["playbook.stage"] + sample["playbook.validate"] + sum(sample[name] for name in _ENGINE_REST)
    return dict(sample, ansible=sample["playbook"] - engine)


def summarise(rounds):
    """Return ``samples``, ``medians`` and ``ratios`` of the rounds of one size.

    A ratio is taken within each round, where both sides met the same load; its median and its range are kept.

    :param rounds: [{figure: value}], as :func:`complete` returns them.
    """
    # A counter that failed once would leave a hole in an hour's work.
    samples = {name: [one[name] for one in rounds] for name in rounds[0] if all(name in one for one in rounds)}
    ratios = {}
    for name, (_words, above, below, _goal) in RATIOS.items():
        if above not in samples or below not in samples:
            continue
        values = [one[above] / one[below] for one in rounds]
        ratios[name] = {"median": median(values), "lowest": min(values), "highest": max(values)}
    return {"samples": samples, "medians": {name: median(values) for name, values in samples.items()}, "ratios": ratios}
