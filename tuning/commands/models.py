"""`tuning models`: what is documented, and what each model looks like."""

from argparse import Namespace
from typing import Any

from tuning.commands import Outcome
from tuning.errors import RequestError
from tuning.references import is_callable_reference, load_model
from tuning.space import to_option


def run(options: Namespace) -> Outcome:
    import models as catalog

    if options.model is not None:
        return _one_model(options.model)
    cards = {name: _card(name) for name in catalog.CATALOG}
    lines = []
    for name, card in cards.items():
        lines.append(f"{name:16} {card['task']:15} {card['data']:13} {card['summary']}")
        lines.append(f"{'':16} takes {', '.join(card['hyperparameters'])}")
        lines.append(f"{'':16} searches {_ranges(card)}")
    return {"models": cards}, "\n".join(lines), 0


def _card(name: str) -> dict[str, Any]:
    import models as catalog

    card = catalog.CATALOG[name]
    return {
        "task": card.task,
        "data": card.data,
        "summary": card.summary,
        "source": card.source,
        "epochs": card.epochs,
        "batch_size": card.batch_size,
        "hyperparameters": list(catalog.hyperparameters(name)),
        "search": card.search,
    }


def _ranges(card: dict[str, Any]) -> str:
    return "; ".join(f"{key} {to_option(plain)}" for key, plain in card["search"].items())


def _one_model(name: str) -> Outcome:
    import models as catalog

    if is_callable_reference(name):
        raise RequestError(
            f"`tuning models` shows documented models, but got {name!r}; `tuning sweep {name} --data DATA "
            "--dry-run` tells of one of your own whether it fits its data, and how large it is."
        )
    load_model(name)  # refuses an unknown name
    network = catalog.build(name)
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    count = sum(parameter.numel() for parameter in network.parameters())
    card = _card(name)
    width = max(map(len, shapes))
    lines = [f"{name}: {card['summary']} ({card['task']}, default data {card['data']})", str(network), ""]
    lines += [f"{key:{width}}  {tuple(shape)}" for key, shape in shapes.items()]
    lines += ["", f"{count:,} parameters; batch norm and dropout are there where a trial has a rate for them"]
    lines += [f"default: {card['epochs']} epochs, batches of {card['batch_size']}; searches {_ranges(card)}"]
    lines += [f"source: {card['source']}"]
    return {"model": name, **card, "shapes": shapes, "parameters": count}, "\n".join(lines), 0
