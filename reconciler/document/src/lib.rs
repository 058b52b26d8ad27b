//! YAML text to a tree of spanned nodes; diagnostics as values.
