"""The sections of a classifier: what it takes for what, and where it is most wrong."""

from tuning.data.classes import class_names
from tuning.inspection import mistakes, pictures
from tuning.inspection.page import Section
from tuning.inspection.subject import Subject, sample

MAX_ROWS = 10_000
BATCH_SIZE = 256


def sections(found: Subject) -> list[Section]:
    """Return the confusion matrix and, for images, the worst mistakes as pictures."""
    said = mistakes.predictions(found.best, sample(found.splits, "validation", MAX_ROWS, BATCH_SIZE))
    count = max(found.splits.num_outputs, said.logits.shape[1])  # a network may know more than there are
    names = class_names(found.splits, count)
    result = [_confusion(said, names)]
    if pictures.are_images(found.splits):
        result.append(_worst(found, said, names))
    return result


def _confusion(said: mistakes.Predictions, names: list[str]) -> Section:
    matrix = mistakes.confusion(said.targets, said.predicted, len(names))
    right, count = int(matrix.diagonal().sum()), int(matrix.sum())
    shown, labels = mistakes.readable(matrix, names)
    text = (
        f"What the network takes {count} validation examples for: {right} are right ({right / count:.2%}). "
        "A row is a true class, the colour is the share of its row."
    )
    if len(shown) < len(matrix):
        text += f" The {len(shown) - 1} of {len(matrix)} classes with the most mistakes are shown."
    return Section("Confusion matrix", text, mistakes.confusion_figure(shown, labels))


def _worst(found: Subject, said: mistakes.Predictions, names: list[str]) -> Section:
    wrong = mistakes.worst(said)
    heading, count = "Worst mistakes", len(said.targets)
    if not len(wrong):
        return Section(heading, f"None of {count} validation examples is taken for another class.")
    shown = pictures.displayed(said.inputs[wrong], found.splits.preprocess)
    text = (
        f"Of the same {count} validation examples, the {len(wrong)} wrong predictions with the largest loss, "
        "the largest first: what a picture is and what it was taken for, with the probability of each."
    )
    return Section(heading, text, mistakes.worst_figure(said, wrong, shown, names))
