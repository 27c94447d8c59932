"""Ground floor: the record, the registry of quantities, findings, errors, seeding and atomic files."""
