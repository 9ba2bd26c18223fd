"""Pages, tables and figures, made from run folders alone."""
