"""Sources: where frames come from. All of them are `base.Source`; the session knows nothing else of them."""
