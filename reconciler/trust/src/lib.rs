//! Raw git objects in, verdict out: the signed-commit policy of a fleet repository.
