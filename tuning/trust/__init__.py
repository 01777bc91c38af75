"""Whether what a sweep says can be trusted: trained again as it was, and again with fresh seeds."""
