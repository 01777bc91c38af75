"""`tuning replay`: one trial trained again as it was, against what is recorded."""

from argparse import Namespace

from tuning.commands import Outcome


def run(options: Namespace) -> Outcome:
    from tuning.trust import replay, replay_texts

    found = replay.replay(options.name, options.trial, options.home)
    return replay_texts.facts(found), replay_texts.text(found), 0 if found.comparison.holds else 1
