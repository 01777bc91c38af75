"""The rooms that know Ray: where cohorts run, and how they come back."""
