//! Names, kinds, resource specs and their comparison, plans, reports, wire frames, canonical form.
