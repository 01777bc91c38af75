"""A name that many a project has: it hides none of the platform's own."""
