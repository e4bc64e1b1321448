"""Why a row is predicted as it is, what would make it safe, and whether the model has seen its like. Stores nothing."""
