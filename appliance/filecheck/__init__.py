"""Files that a person hands in to look at first: what is bad in them, then their good rows predicted part by part."""
