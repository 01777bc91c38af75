"""`tuning confirm`: the best trials again, with fresh seeds and on the test split."""

from argparse import Namespace

from tuning.commands import Outcome


def run(options: Namespace) -> Outcome:
    from tuning.trust import confirm, confirm_texts

    found = confirm.confirm(options.name, options.top, options.seeds, options.home, options.address)
    return (
        confirm_texts.facts(options.name, found),
        confirm_texts.text(options.name, found),
        0 if found.holds else 1,
    )
