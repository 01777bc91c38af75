"""The rooms that know MLflow: `writer` writes a sweep's runs, `client` asks for them."""
