"""Evaluation of a system: against real photographs, or by the measures that it brings along."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from jaxharm.errors import InputError
from jaxharm.evaluation.evaluate import evaluate
from jaxharm.evaluation.judged import evaluate_judged
from jaxharm.evaluation.predictor import Predictor
from jaxharm.evaluation.result import Evaluation, Observer
from jaxharm.inference.options import check_strength
from jaxharm.interfaces import Output, Params, System
from jaxharm.metrics.lpips import LPIPS
from jaxharm.metrics.protocols import Protocol as MetricProtocol
from jaxharm.schema import HostArray, HostBatch


def evaluate_system(
    system: System,
    variables: Params,
    predict: Callable[[HostBatch], Output],
    batches: Iterable[HostBatch],
    protocol: str | MetricProtocol,
    *,
    observers: Sequence[Observer] = (),
    figures: Callable[[HostBatch], Mapping[str, HostArray]] | None = None,
    lpips: LPIPS | None = None,
    strength: float = 1.0,
) -> Evaluation:
    """Measures the pictures that `harmonize` makes with these weights.

    Args:
        system: the trained system.
        variables: of its deployed model, as `System.variables` gives them.
        predict: `System.predict` with its state, for host batches.
        batches, protocol, observers, figures, lpips: as in `evaluate`.
        strength: as `harmonize` takes it.

    Raises:
        InputError: as `evaluate`; a strength that is not between 0 and 1, or not 1 where a system
            measures its results itself.
    """
    check_strength(strength)
    judge = system.judge(variables)
    if judge is not None and strength != 1:
        raise InputError(f"{system.name} is measured by its own measures: leave the strength at 1")
    if judge is not None:
        return evaluate_judged(
            judge, batches, protocol, observers=observers, figures=figures, lpips=lpips
        )
    return evaluate(
        Predictor(system, variables, predict, strength=strength),
        batches,
        protocol,
        observers=observers,
        figures=figures,
        lpips=lpips,
    )
