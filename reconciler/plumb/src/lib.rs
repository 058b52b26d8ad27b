//! Plumb keeps machines exactly as their git repository says.
