"""What takes longer than a notebook should: studies that are computed once and kept in `lib/reference`."""
