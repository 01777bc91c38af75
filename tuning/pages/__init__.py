"""HTML pages of figures, which need no network: what `tuning report` and `tuning inspect` share."""
