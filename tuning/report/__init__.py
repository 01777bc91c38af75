"""A sweep as one offline HTML page. Figures are pure functions of a `View`, one file per family."""
