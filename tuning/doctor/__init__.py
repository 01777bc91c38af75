"""Whether study, MLflow and checkpoint files of a sweep agree; what can be repaired is, without inventing."""
